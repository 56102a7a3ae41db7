"""What an action of the admin is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise

from django_claude_batches.admin.actions.confirmation import Question


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
