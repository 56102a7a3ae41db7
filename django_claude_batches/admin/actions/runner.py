"""Run an action: select the rows it applies to, confirm on a page, record the intent, log it, wake a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html, format_html_join
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_claude_batches import tasks
from django_claude_batches.admin.actions.action import Verb
from django_claude_batches.admin.actions.admin import ActingAdminMixin
from django_claude_batches.admin.actions.confirmation import Question
from django_claude_batches.conf import ConfigurationError
from django_claude_batches.exceptions import ClaudeBatchesError

# Rows of one action. The confirmation page posts a field for each, and Django rejects more than 1,000 fields.
MOST_ROWS = 500

# Rows and skipped rows that a page or message names.
MOST_NAMED = 20
MOST_SKIPPED_NAMED = 5


def as_action(verb: Verb) -> Callable[..., HttpResponse]:
    """Return the action as a function for Django's admin, hidden and refused without its permission."""

    def action(modeladmin: ActingAdminMixin, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        return _run(verb, modeladmin, request, queryset)

    action.__name__ = verb.name
    description: Any = verb.label
    return admin.action(action, permissions=[verb.permission], description=description)


def _run(verb: Verb, modeladmin: ActingAdminMixin, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
    if not modeladmin.is_permitted(request, verb):
        raise PermissionDenied
    pks = list(queryset.order_by("pk").values_list("pk", flat=True)[: MOST_ROWS + 1])
    if error := _wrong_number(verb, len(pks)):
        modeladmin.message_user(request, error, messages.ERROR)
        return _back(request)
    if "confirmed" in request.POST:
        return _perform(verb, modeladmin, request, pks)
    return _confirm(verb, modeladmin, request, *_sorted(verb, modeladmin.get_queryset(request).filter(pk__in=pks)))


def _wrong_number(verb: Verb, rows: int) -> str:
    if not rows:
        return _("Nothing was done: the rows no longer exist.")
    if rows > MOST_ROWS:
        return _("At most %(most)s rows at once. Nothing was done: select fewer.") % {"most": MOST_ROWS}
    if verb.asks.for_one_row and rows > 1:
        return _("An id identifies one batch. Nothing was done: select one row.")
    return ""


def _sorted(verb: Verb, rows: QuerySet[Any]) -> tuple[list[Any], list[str]]:
    """Return the rows that the action applies to, and the messages about those that are skipped."""
    legal, skipped = [], []
    found = list(verb.knowing(rows).order_by("pk"))
    for row in found:
        if reason := verb.refusal(row) or (verb.alone(row) if len(found) > 1 else ""):
            skipped.append(f"{row} {reason}")
        else:
            legal.append(row)
    return legal, skipped


def _perform(verb: Verb, modeladmin: ActingAdminMixin, request: HttpRequest, pks: list[int]) -> HttpResponse:
    """Perform the action on the rows that allow it, in one transaction, if the confirmation form is valid."""
    rows: Any = modeladmin.model._default_manager.all()
    rows = rows.primary()
    made: list[Any] = []
    with transaction.atomic(using=rows.db):
        # Lock the rows, so that no worker changes one between the check and the write. On SQLite, the transaction
        # locks the database.
        legal, skipped = _sorted(verb, rows.select_for_update().filter(pk__in=pks))
        question = verb.asks(legal, request.POST)
        if legal and not question.is_valid():
            return _confirm(verb, modeladmin, request, legal, skipped, question)
        for row in legal:
            try:
                made.append(_attempt(verb, modeladmin, request, row, question.answers))
            except (ClaudeBatchesError, ConfigurationError) as error:
                skipped.append(f"{row}: {error}")
        if made:
            tasks.kick()
    if made:
        modeladmin.message_user(request, _done(verb, modeladmin, made), messages.SUCCESS)
    if skipped:
        modeladmin.message_user(request, _skipped(verb, skipped), messages.WARNING)
    return _back(request)


def _attempt(
    verb: Verb, modeladmin: ActingAdminMixin, request: HttpRequest, row: Any, answers: dict[str, Any]
) -> object:
    """Perform the action on one row and log it, in one transaction."""
    with transaction.atomic(using=row._state.db):
        made = verb.perform(row, request.user, **answers)
        if verb.deletes:
            modeladmin.log_deletions(request, [row])  # type: ignore[arg-type]
        else:
            modeladmin.log_change(request, row, str(verb.label))
    return made


def _confirm(
    verb: Verb,
    modeladmin: ActingAdminMixin,
    request: HttpRequest,
    legal: list[Any],
    skipped: list[str],
    question: Question | None = None,
) -> HttpResponse:
    if not legal:
        modeladmin.message_user(request, _skipped(verb, skipped), messages.WARNING)
        return _back(request)
    context = {
        "title": verb.label,
        "verb": verb,
        "summary": modeladmin.summarize(legal),
        "skipped": _skipped(verb, skipped) if skipped else "",
        "named": legal[:MOST_NAMED],
        "unnamed": len(legal) - len(legal[:MOST_NAMED]),
        "pks": [row.pk for row in legal],
        "checkbox": ACTION_CHECKBOX_NAME,
        "back": _back_url(request),
        "question": question or verb.asks(legal),
    }
    if len(legal) == 1:
        context["dcb_crumbs"] = modeladmin.crumbs(request, legal[0])
    return modeladmin.render_page(request, "confirm_action.html", context)


def _done(verb: Verb, modeladmin: ActingAdminMixin, made: list[Any]) -> str:
    """Return the message of success: the number of rows, with a link to each batch that was made."""
    text = str(verb.done % len(made))
    if not verb.makes:
        return text
    links = [(modeladmin.row_url(type(batch), batch.pk), str(batch)) for batch in made[:MOST_NAMED]]
    more = ", …" if len(made) > MOST_NAMED else ""
    return format_html("{} {}{}", text, format_html_join(", ", '<a href="{}">{}</a>', links), more)


def _skipped(verb: Verb, skipped: list[str]) -> str:
    """Return the message about skipped rows: which were skipped, why, and which rows the action accepts."""
    named: Iterable[str] = skipped[:MOST_SKIPPED_NAMED]
    rest = len(skipped) - MOST_SKIPPED_NAMED
    if rest > 0:
        named = [*named, ngettext("and %d more", "and %d more", rest) % rest]
    text = _("%(count)s skipped: %(rows)s. %(rule)s")
    return text % {"count": len(skipped), "rows": "; ".join(row.rstrip(".") for row in named), "rule": verb.rule}


def _back(request: HttpRequest) -> HttpResponseRedirect:
    return HttpResponseRedirect(_back_url(request))


def _back_url(request: HttpRequest) -> str:
    """Return the URL of the page where the action was started: the list as it was filtered, or the row's page."""
    given = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(given, allowed_hosts={request.get_host()}, require_https=request.is_secure())
    return given if safe else request.get_full_path()
