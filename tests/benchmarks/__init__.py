"""How fast it is, beside what one writes first and what the database can do: `python -m tests.benchmarks --help`.

Every step is a process of its own, so that its memory is its own; ours, the peer and the limit take turns within one
run, so that a machine that is busy for a while is busy for all of them. docs/performance.md says how to read the table.
"""
