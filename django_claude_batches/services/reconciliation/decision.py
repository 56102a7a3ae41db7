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
    """What is known about an attempt.

    `candidates` may be its batch and exist; `gone` may have been it and no longer exist. `listings` counts the full
    ones so far without a candidate, including this one; `are_kept` says whether the answers of all other listings
    between them were stored.
    """

    is_quiet: bool
    is_overdue: bool
    is_being_identified: bool
    listing: Completeness
    candidates: int
    gone: int
    listings: int
    are_kept: bool = True


@dataclass(frozen=True)
class Decision:
    step: Step
    why: str = ""


def decide(facts: Facts) -> Decision:
    """Return what to do: wait, count the batch as not received, or hold it for a person, with the reason."""
    if facts.candidates:
        why = "48 hours were not enough to tell whose the batches are that may be it"
        return Decision(Step.HOLD, why) if facts.is_overdue else Decision(Step.WAIT)
    if not facts.is_quiet:
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
    return Decision(Step.NOT_RECEIVED if facts.listings >= FULL_LISTINGS and facts.are_kept else Step.WAIT)
