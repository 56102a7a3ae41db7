"""The declaration of an admin action."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise

from django_claude_batches.admin.actions.confirmation import Question


@dataclass(frozen=True, kw_only=True)
class Verb:
    """An action of a list, which is also a button on the page of each row that allows it.

    `refusal(row)` returns why the action skips a row, or an empty text. `knowing(rows)` adds the annotations that
    `refusal` reads to a queryset. `alone(row)` returns why a row cannot be selected together with others.

    `perform(row, user, **answers)` writes to the database and sends no HTTP. `asks` is the form of the confirmation
    page, whose answers are the keyword arguments.

    `words` explains the action on the confirmation page. `done` is the message about the number of rows on which the
    action was performed; `rule` ends the message about the skipped rows. `row_label(row)` returns the label of the
    button on the row's page, with a number; if it is empty, there is no button.

    If `makes` is true, `perform` returns a new batch, and the message links to it. If `deletes` is true, `perform`
    deletes the row, and the row's page has no button: it has Django's *Delete*.
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
