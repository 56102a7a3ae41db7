"""A soak: thousands of batches with many faults, compared with the server's ledger at the end.

    python -m tests.reliability.soak --batches 2000 --seed 7 --db postgres --workers 2

`weather` draws the faults of the emulator, `workers` are processes that tick and are killed, `people` submit, cancel,
delete and retry, `clock` lets time pass for rows and server alike, `run` puts it together, `check` compares the rows
with the ledger, and `report` prints what was seen. A seed repeats what is drawn; when a process is killed, and which of
two workers is faster, is the machine's own.
"""

from __future__ import annotations
