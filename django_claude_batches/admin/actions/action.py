"""What a verb of the admin is, and how a batch stands that one is not for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_claude_batches.admin.actions.confirmation import Question
from django_claude_batches.models import MessageBatch, State

STANDING = {
    State.DRAFT: gettext_lazy("is a draft"),
    State.QUEUED: gettext_lazy("is already waiting to be sent"),
    State.SUBMITTING: gettext_lazy("is already being sent"),
    State.UNCERTAIN: gettext_lazy("was sent and is not confirmed"),
    State.HELD: gettext_lazy("was not received"),
    State.ABANDONED: gettext_lazy("was given up"),
    State.REJECTED: gettext_lazy("was refused by Anthropic"),
    State.IN_PROGRESS: gettext_lazy("is already running at Anthropic"),
    State.CANCELING: gettext_lazy("is already being canceled"),
    State.ENDED: gettext_lazy("has finished, and its results are being fetched"),
    State.INCOMPLETE: gettext_lazy("has finished, and its results are being fetched"),
    State.INGESTED: gettext_lazy("is complete"),
    State.LOST: gettext_lazy("has lost its results"),
}
"""How a batch stands, to follow its name in a sentence."""


def _as_they_are(rows: Any) -> Any:
    return rows


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One action. `refusal` says why a row is skipped (empty: it is not); `perform` only records, and speaks no HTTP.

    `knowing` adds to a queryset of rows what `refusal` looks at. `done` is the message for a number of rows, `rule`
    ends the message about the skipped ones. `alone` says why a row cannot be among several. `asks` is the form of its
    confirmation page, whose answers are keyword arguments of `perform`. One that `makes` gives a new batch, which the
    message links to.
    """

    name: str
    label: Promise
    permission: str
    words: Promise
    rule: Promise
    done: Any
    refusal: Callable[[Any], str]
    perform: Callable[..., object]
    asks: type[Question] = Question
    alone: Callable[[Any], str] = lambda row: ""
    knowing: Callable[[Any], Any] = _as_they_are
    makes: bool = False
    deletes: bool = False


def standing(batch: MessageBatch) -> str:
    return str(STANDING[State(batch.state)])


def only(states: frozenset[State]) -> Callable[[MessageBatch], str]:
    """Make the refusal of all batches in other states."""
    return lambda batch: "" if batch.state in states else standing(batch)


def being_drafted(batch: MessageBatch) -> str:
    """Make the refusal of a draft to which its run still adds requests."""
    return _("is still being drafted by its run") if batch.is_filling else ""
