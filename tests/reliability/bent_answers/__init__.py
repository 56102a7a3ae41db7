"""Trials with two accounts, one of which gets bent answers: what must hold whatever a server answers.

    python -m tests.reliability.bent_answers --minutes 10 --db postgres --seed 1

`site` is the two accounts and their server, `trial` what happens in one seed, `watch` what must hold after each step,
and `report` what is printed. A seed repeats a trial.
"""

from __future__ import annotations
