"""The declaration of an admin action."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise

from django_claude_batches.admin.actions.confirmation import Question


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One action. `refusal` returns why a row is skipped, or an empty text; `perform` only records, and sends no HTTP.

    `knowing` annotates a queryset of rows with what `refusal` uses. `done` is the message for a number of rows; `rule`
    ends the message about the skipped ones. `alone` says why a row cannot be selected with others. `asks` is the form
    of the confirmation page, whose answers are keyword arguments of `perform`. `row_label` returns the label of
    the button on a row's page, with a number; there is no button if it is empty. An action that `makes` returns a new
    batch, to which the message links.
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
    knowing: Callable[[Any], Any] = lambda rows: rows
    row_label: Callable[[Any], str] | None = None
    makes: bool = False
    deletes: bool = False
