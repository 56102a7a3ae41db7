"""Reliability tests: processes, databases and brokers are killed, and the rows are compared with the server's ledger.

`python -m pytest -m fault tests/reliability --trials 20` prints the table of docs/reliability.md.
"""
