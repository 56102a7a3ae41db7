"""The decision about a create call without an answer, cell by cell."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from django_claude_batches.services.listings.search import Completeness
from django_claude_batches.services.reconciliation.decision import Facts, Step, decide

PROVED = Facts(
    is_quiet_period_over=True,
    is_overdue=False,
    is_being_identified=False,
    listing=Completeness.FULL,
    open_candidates=0,
    gone=0,
    full_listings=2,
)


@pytest.mark.parametrize(
    ("otherwise", "step"),
    [
        ({}, Step.NOT_RECEIVED),
        ({"is_overdue": True}, Step.NOT_RECEIVED),
        ({"full_listings": 1}, Step.WAIT),
        ({"is_quiet_period_over": False}, Step.WAIT),
        ({"is_being_identified": True}, Step.WAIT),
        ({"open_candidates": 1}, Step.WAIT),
        ({"open_candidates": 1, "gone": 1}, Step.WAIT),
        ({"open_candidates": 1, "is_overdue": True}, Step.HOLD),
        ({"gone": 1}, Step.HOLD),
        ({"gone": 1, "is_quiet_period_over": False}, Step.WAIT),
        ({"listing": Completeness.PARTIAL}, Step.WAIT),
        ({"listing": Completeness.PARTIAL, "is_overdue": True}, Step.HOLD),
        ({"listing": Completeness.UNPROVABLE}, Step.HOLD),
        ({"listing": Completeness.UNPROVABLE, "is_quiet_period_over": False}, Step.WAIT),
    ],
)
def test_what_follows(otherwise: dict[str, Any], step: Step) -> None:
    decision = decide(replace(PROVED, **otherwise))
    assert decision.step is step
    assert bool(decision.why) == (step is Step.HOLD), "a person is told why, and nobody else is"


def test_nothing_is_sent_again_but_in_one_way() -> None:
    flags = (True, False)
    for quiet, overdue, claimed, listing, candidates, gone, listings in product(
        flags, flags, flags, Completeness, (0, 1), (0, 1), (0, 1, 2)
    ):
        facts = Facts(quiet, overdue, claimed, listing, candidates, gone, listings)
        if decide(facts).step is Step.NOT_RECEIVED:
            assert replace(facts, is_overdue=False) == PROVED
