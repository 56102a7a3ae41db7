"""Compare the package's speed with the simplest implementation and the database's limit (`python -m tests.benchmarks`).

Every step runs in its own process, so that its memory can be measured. Ours, the peer and the limit take turns within
one run, so that other load on the machine affects all of them. docs/performance.md explains the table.
"""
