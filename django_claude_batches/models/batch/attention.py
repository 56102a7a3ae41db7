"""Which batches need attention, and why. The one definition for querysets, the admin, commands and `doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, reduce
from operator import or_
from typing import Any, NamedTuple

from django.db.models import Case, Exists, OuterRef, Q, Value, When
from django.utils.translation import gettext_lazy as _

from django_claude_batches.error_text import one_line
from django_claude_batches.models.account import AccountState
from django_claude_batches.models.batch_state import ALWAYS_DUE, FETCHING, RUNNING, State

# States that need attention in themselves.
ATTENTION_STATES = frozenset({State.UNCERTAIN, State.HELD, State.REJECTED, State.INCOMPLETE, State.LOST})

# Consecutive failures after which something that is retried automatically needs attention: after about four minutes.
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
        Reason("not_found", not_found, _("Anthropic answers that it does not exist, {misses} times in a row.")),
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


def texts(batches: Sequence[Any]) -> dict[int, str]:
    """Return why each of the batches needs attention, by primary key; nothing for the others. At most two queries."""
    if not batches:
        return {}
    rows = type(batches[0]).objects.primary().filter(pk__in=[batch.pk for batch in batches]).order_by()
    found = rows.annotate(reason=first_of(reasons())).exclude(reason="").values_list("pk", "reason")
    names, pauses = dict(found), _Pauses()
    return {batch.pk: _in_words(batch, names[batch.pk], pauses) for batch in batches if batch.pk in names}


def _in_words(batch: Any, name: str, pauses: _Pauses) -> str:
    words = next(reason.words for reason in reasons() if reason.name == name)
    return str(words).format_map(_Details(batch, pauses)).strip()


class _Pauses:
    """Why accounts are paused, read when the first text names it."""

    @cached_property
    def reasons(self) -> dict[str, str]:
        return dict(AccountState.objects.primary().paused().values_list("alias", "pause_reason"))


class _Details(dict[str, Any]):
    """What the text may name: attributes of the batch, and why its account is paused."""

    def __init__(self, batch: Any, pauses: _Pauses) -> None:
        self._batch, self._pauses = batch, pauses

    def __missing__(self, name: str) -> Any:
        if name == "pause_reason":
            return self._pauses.reasons.get(self._batch.account, "")
        return one_line(self._batch.last_error) if name == "last_error" else getattr(self._batch, name)
