"""What happens to a batch next, and when: the next step, its likely end, and the two deadlines at Anthropic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median, quantiles
from typing import Any

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_claude_batches import wire
from django_claude_batches.admin.base import display
from django_claude_batches.admin.base.display import Fact
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.models.batch_state import FETCHING, RUNNING

KEPT = timedelta(days=wire.RESULTS_LAST_DAYS)

# Batches of the account from which the usual duration is computed, the latest first: an index lists them.
MAX_SAMPLE = 200
MIN_SAMPLE = 5

# What the next action is, in the states that have one.
NEXT = {
    State.QUEUED: gettext_lazy("It is sent"),
    State.SUBMITTING: gettext_lazy("Without an answer, it counts as not confirmed"),
    State.UNCERTAIN: gettext_lazy("It is searched for at Anthropic"),
    State.IN_PROGRESS: gettext_lazy("Anthropic is asked whether it has ended"),
    State.CANCELING: gettext_lazy("Anthropic is asked whether it has ended"),
    State.ENDED: gettext_lazy("Its results are fetched"),
    State.INCOMPLETE: gettext_lazy("Its results are fetched again"),
    State.INGESTED: gettext_lazy("Your receivers are called"),
}


@dataclass(frozen=True, slots=True)
class TurnRound:
    """Half of `count` batches ended within `usual`, 95 of 100 within `most`; both in whole minutes, rounded up."""

    usual: timedelta
    most: timedelta
    count: int


def outlook(batch: MessageBatch) -> Iterator[Fact]:
    """Yield the next step, the usual duration, and the deadlines of a batch."""
    if batch.next_action_at is not None:
        words = {"what": _next(batch), "when": display.until(batch.next_action_at)}
        yield Fact(_("Next"), _("%(what)s, %(when)s.") % words)
    if batch.state in RUNNING | {State.QUEUED, State.SUBMITTING} and (known := turn_round(batch.account)):
        yield Fact(_("Usually done"), _usually(batch, known))
    yield from _clocks(batch)


def _next(batch: MessageBatch) -> Any:
    if batch.state == State.IN_PROGRESS and batch.cancel_requested_at and not batch.cancel_initiated_at:
        return _("Anthropic is asked to cancel it")
    if batch.state == State.LOST or (batch.announced_at and batch.delete_requested_at):
        return _("It is deleted at Anthropic")
    return NEXT.get(State(batch.state), _("It is checked"))


def _usually(batch: MessageBatch, known: TurnRound) -> SafeString:
    last = ngettext("last %(n)s batch", "last %(n)s batches", known.count) % {"n": f"{known.count:,}"}
    begin = batch.created_at
    if begin is not None and begin + known.most < timezone.now():
        begin = None  # it has taken longer than usual, so an end that is past is not shown
    usual, most = _within(known.usual, begin), _within(known.most, begin)
    if known.usual == known.most:
        return format_html(_("within {usual} ({last})"), usual=usual, last=last)
    return format_html(_("within {usual}, 95 of 100 within {most} ({last})"), usual=usual, most=most, last=last)


def _within(time: timedelta, begin: datetime | None) -> str:
    if begin is None:
        return display.duration(time)
    return format_html("{}, {}", display.duration(time), display.moment(begin + time))


def _clocks(batch: MessageBatch) -> Iterator[Fact]:
    """Yield the 24 hours in which Anthropic works on it, then the 29 days in which its results can be fetched."""
    if batch.created_at is None:
        return
    if batch.state in RUNNING and batch.expires_at is not None:
        yield _clock(
            _("Expires"), _("What is not processed by then expires and is not billed."), batch, batch.expires_at
        )
    if batch.state in FETCHING | {State.INGESTED} and not (batch.remote_deleted_at or batch.archived_at):
        kept_until = batch.created_at + KEPT
        is_over = kept_until < timezone.now()
        label = _("Was kept at Anthropic until") if is_over else _("Kept at Anthropic until")
        hint = "" if batch.state == State.INGESTED else _("Results can be fetched until then.")
        yield _clock(label, hint, batch, kept_until)


def _clock(label: str, hint: str, batch: MessageBatch, end: datetime) -> Fact:
    begin, now = batch.created_at, timezone.now()
    whole = (end - begin).total_seconds() if begin is not None else 0
    share = (now - begin).total_seconds() / whole if begin is not None and whole > 0 else 1
    if end <= now:
        return Fact(label, display.moment(end), display.share(share))
    text = format_html("{} ({}). {}", display.moment(end), display.until(end), hint)
    return Fact(label, text, display.share(share))


def turn_round(account: str) -> TurnRound | None:
    """Return how long it takes from creation to end, by Anthropic's clock; None if too few batches ended. One query.

    Canceled batches do not count.
    """
    ended = MessageBatch.objects.primary().filter(
        account=account, ended_at__isnull=False, created_at__isnull=False, cancel_initiated_at__isnull=True
    )
    times = ended.order_by("-ended_at").values_list("created_at", "ended_at")[:MAX_SAMPLE]
    seconds = [(end - begin).total_seconds() for begin, end in times if begin is not None and end is not None]
    if len(seconds) < MIN_SAMPLE:
        return None
    highest = quantiles(seconds, n=20, method="inclusive")[-1]
    return TurnRound(_minutes(median(seconds)), _minutes(highest), len(seconds))


def _minutes(seconds: float) -> timedelta:
    return timedelta(minutes=max(1, -int(-seconds // 60)))
