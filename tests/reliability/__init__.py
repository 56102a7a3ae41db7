"""What becomes of a batch when processes, databases and brokers are killed: counted on the server's side.

`python -m pytest -m fault tests/reliability --trials 20` prints the table of docs/reliability.md.
"""
