"""Which batches need attention, and why. The one definition for querysets, the admin, commands and `doctor`."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from django.db.models import Case, Exists, OuterRef, Q, Subquery, TextField, Value, When
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from django_claude_batches.error_text import one_line
from django_claude_batches.models.account import AccountState
from django_claude_batches.models.batch_state import ALWAYS_DUE, FETCHING, RUNNING, State

# States that need attention in themselves.
ATTENTION_STATES = frozenset({State.UNCERTAIN, State.HELD, State.REJECTED, State.INCOMPLETE, State.LOST})

# Consecutive failures (about four minutes) after which work that is retried automatically needs attention.
FAILURES_FOR_ATTENTION = 3

# 404 responses after which a batch needs attention. A single one may come from a listing that lags.
MISSES_FOR_ATTENTION = 2


class Reason(NamedTuple):
    """Why a row needs attention: a name, the condition, and a text that is formatted with the row's attributes."""

    name: str
    condition: Q
    words: Any


def reasons() -> list[Reason]:
    """Return the reasons, the most important first."""
    paused = AccountState.objects.primary().paused().filter(alias=OuterRef("account"), paused_until__isnull=True)
    complete, not_found = Q(state=State.INGESTED), Q(state__in=RUNNING | FETCHING, misses__gte=MISSES_FOR_ATTENTION)
    failing = Q(state__in=ALWAYS_DUE, failures__gte=FAILURES_FOR_ATTENTION)
    some_missing = _("Results that never came: {missing_count:,}.")
    return [
        Reason("state", Q(state__in=ATTENTION_STATES), "{explanation}"),
        Reason("missing", complete & Q(missing_count__gt=0), some_missing),
        Reason("receiver", complete & ~Q(last_error=""), _("A receiver of this project raised: {last_error}")),
        Reason("not_found", not_found, _("Anthropic answered {misses} times in a row that this batch does not exist.")),
        Reason(
            "paused",
            Q(Exists(paused), state=State.QUEUED),
            _("Account {account} is paused, so nothing is sent: {pause_reason}"),
        ),
        Reason("failing", failing, _("It failed {failures} times in a row: {last_error}")),
    ]


def is_needed() -> Q:
    """Match the batches that need attention."""
    return any_of(reasons())


def any_of(found: list[Reason]) -> Q:
    """Match the rows for which one of the reasons holds."""
    return reduce(or_, (reason.condition for reason in found))


def first_of(found: list[Reason]) -> Case:
    """Return a column with the name of the first reason that holds for a row; empty without one."""
    return Case(*(When(reason.condition, then=Value(reason.name)) for reason in found), default=Value(""))


def with_reason(batches: Any) -> Any:
    """Annotate batches with the columns that `in_words` reads: `attention_reason` and `pause_reason`."""
    states = AccountState.objects.primary().filter(alias=OuterRef("account")).values("pause_reason")
    return batches.annotate(
        attention_reason=first_of(reasons()),
        pause_reason=Coalesce(Subquery(states[:1]), Value(""), output_field=TextField()),
    )


def in_words(batch: Any) -> str:
    """Return why a batch that was annotated by `with_reason` needs attention; empty if it does not."""
    for reason in reasons():
        if reason.name == batch.attention_reason:
            return str(reason.words).format_map(_Details(batch)).strip()
    return ""


class _Details(dict[str, Any]):
    """The values that a text can contain: attributes of the batch."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __missing__(self, name: str) -> Any:
        return one_line(self._batch.last_error) if name == "last_error" else getattr(self._batch, name)
