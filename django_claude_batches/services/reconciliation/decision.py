"""Decide what to do with an unconfirmed batch: wait, count it as not received, or hold it for a person. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from django_claude_batches.models.attempt import FULL_LISTINGS
from django_claude_batches.services.listings.search import Completeness


class Step(Enum):
    WAIT = auto()
    NOT_RECEIVED = auto()
    HOLD = auto()


@dataclass(frozen=True)
class Facts:
    """What is known of one create call.

    `open_candidates` may be it and are at Anthropic; `gone` may have been it and are not there any more.
    `full_listings` is the number of full ones so far without a candidate, this one included. `no_answer_is_missing`
    says that no other listing came between them of which it is not known what it showed.
    """

    is_quiet_period_over: bool
    is_overdue: bool
    is_being_identified: bool
    listing: Completeness
    open_candidates: int
    gone: int
    full_listings: int
    no_answer_is_missing: bool = True


@dataclass(frozen=True)
class Decision:
    step: Step
    why: str = ""


def decide(facts: Facts) -> Decision:
    """Return what to do: wait, count it as not received, or hold it for a person, who is told why."""
    if facts.open_candidates:
        why = "48 hours were not enough to tell whose the batches are that may be it"
        return Decision(Step.HOLD, why) if facts.is_overdue else Decision(Step.WAIT)
    if not facts.is_quiet_period_over:
        return Decision(Step.WAIT)
    if facts.gone:
        return Decision(Step.HOLD, "a batch that may be it was deleted at Anthropic before its results were read")
    if facts.is_being_identified:
        return Decision(Step.WAIT)
    if facts.listing is Completeness.UNPROVABLE:
        why = "no batch from before the call is left, and the server names no Workspace: no listing can prove anything"
        return Decision(Step.HOLD, why)
    if facts.listing is Completeness.PARTIAL:
        why = "no listing within 48 hours was complete"
        return Decision(Step.HOLD, why) if facts.is_overdue else Decision(Step.WAIT)
    return Decision(
        Step.NOT_RECEIVED if facts.full_listings >= FULL_LISTINGS and facts.no_answer_is_missing else Step.WAIT
    )
