"""How every action goes: filter to the rows it is for, confirm on a page, record the wish, log it, wake a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_claude_batches import tasks
from django_claude_batches.admin.mirror import MirrorAdminMixin
from django_claude_batches.admin.unconfirmed import candidates
from django_claude_batches.admin.verbs import Verb
from django_claude_batches.conf import ConfigurationError
from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.wire import BATCH_ID_PATTERN

MOST_ROWS = 500
"""Rows of one action: the confirmation page names each, and Django refuses forms of more than 1,000 fields."""

MOST_NAMED = 20
MOST_SKIPPED_NAMED = 5


class ActingAdminMixin(MirrorAdminMixin):
    """A ModelAdmin with verbs: as actions of its list, and as buttons on a row's page that post to the same actions."""

    verbs: tuple[Verb, ...] = ()

    def has_submit_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_claude_batches.submit_messagebatch")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_claude_batches.cancel_messagebatch")

    def has_delete_remote_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_claude_batches.delete_remote_messagebatch")

    def has_advance_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_claude_batches.advance_messagebatch")

    def has_claim_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_claude_batches.claim_messagebatch")

    def is_permitted(self, request: HttpRequest, verb: Verb) -> bool:
        return bool(getattr(self, f"has_{verb.permission}_permission")(request))

    def summarize(self, rows: list[Any]) -> str:
        """Say what an action is about to touch."""
        raise NotImplementedError

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        row = kwargs.get("obj")
        if row is not None:
            context["dcb_verbs"] = [
                verb
                for verb in self.verbs
                if not verb.deletes and self.is_permitted(request, verb) and not verb.refusal(row)
            ]
            context["dcb_list_url"] = self.list_url(self.model)
            context["dcb_checkbox"] = ACTION_CHECKBOX_NAME
        return super().render_change_form(request, context, *args, **kwargs)


def as_action(verb: Verb) -> Callable[..., HttpResponse]:
    """Make an action of Django's admin of the verb, hidden and refused without its permission."""

    def action(modeladmin: ActingAdminMixin, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        return _run(verb, modeladmin, request, queryset)

    action.__name__ = verb.name
    description: Any = verb.label
    return admin.action(action, permissions=[verb.permission], description=description)


def _run(verb: Verb, modeladmin: ActingAdminMixin, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
    if not modeladmin.is_permitted(request, verb):
        raise PermissionDenied
    pks = list(queryset.order_by("pk").values_list("pk", flat=True)[: MOST_ROWS + 1])
    if len(pks) > MOST_ROWS:
        text = _("At most %(most)s rows at once. Nothing was done: select fewer.") % {"most": MOST_ROWS}
        modeladmin.message_user(request, text, messages.ERROR)
        return _back(request)
    if verb.takes_id and len(pks) > 1:
        text = _("One id is one batch's. Nothing was done: select one row.")
        modeladmin.message_user(request, text, messages.ERROR)
        return _back(request)
    if "confirmed" not in request.POST:
        return _confirm(verb, modeladmin, request, pks)
    if error := _not_confirmed(verb, request):
        return _confirm(verb, modeladmin, request, pks, error=error)
    done, skipped = _perform(verb, modeladmin, request, pks)
    if done:
        modeladmin.message_user(request, verb.done % done, messages.SUCCESS)
    if skipped:
        modeladmin.message_user(request, _skipped(verb, skipped), messages.WARNING)
    return _back(request)


def _not_confirmed(verb: Verb, request: HttpRequest) -> str:
    """Say what the confirmation page still lacks: the word that must be typed, or an id."""
    if verb.word and request.POST.get("word", "").strip().lower() != str(verb.word):
        return _("Nothing was done: type “%(word)s” to confirm.") % {"word": verb.word}
    if verb.takes_id and not BATCH_ID_PATTERN.fullmatch(_given_id(request)):
        given = Truncator(_given_id(request)).chars(80)
        return _("Nothing was done: a batch's id looks like msgbatch_01…, not “%(given)s”.") % {"given": given}
    return ""


def _given_id(request: HttpRequest) -> str:
    """Give the id that was typed, else the candidate that was chosen."""
    return (request.POST.get("typed_id", "").strip() or request.POST.get("id", "")).strip()


def _perform(verb: Verb, modeladmin: ActingAdminMixin, request: HttpRequest, pks: list[int]) -> tuple[int, list[str]]:
    """Do it to the rows that allow it, in one transaction; give how many, and what was skipped."""
    rows: Any = modeladmin.model._default_manager.all()
    rows = rows.primary()
    skipped = []
    with transaction.atomic(using=rows.db):
        # Locked, so that no worker moves a row between its refusal and its wish; SQLite's transaction locks them all.
        locked = list(rows.select_for_update().filter(pk__in=pks).order_by("pk"))
        for row in locked:
            if reason := verb.refusal(row):
                skipped.append(f"{row} {reason}")
            elif reason := _attempt(verb, modeladmin, request, row):
                skipped.append(f"{row}: {reason}")
        done = len(locked) - len(skipped)
        if done:
            tasks.kick()
    return done, skipped


def _attempt(verb: Verb, modeladmin: ActingAdminMixin, request: HttpRequest, row: Any) -> str:
    """Do it to one row and log it, or neither; give why not."""
    try:
        with transaction.atomic(using=row._state.db):
            verb.perform(row, request.user, **({"id": _given_id(request)} if verb.takes_id else {}))
            if verb.deletes:
                modeladmin.log_deletions(request, [row])  # type: ignore[arg-type]
            else:
                modeladmin.log_change(request, row, str(verb.label))
    except (InvalidTransition, ConfigurationError) as error:
        return str(error)
    return ""


def _confirm(
    verb: Verb, modeladmin: ActingAdminMixin, request: HttpRequest, pks: list[int], *, error: str = ""
) -> HttpResponse:
    legal, skipped = [], []
    for row in modeladmin.get_queryset(request).filter(pk__in=pks).order_by("pk"):
        reason = verb.refusal(row)
        if reason:
            skipped.append(f"{row} {reason}")
        else:
            legal.append(row)
    if not legal:
        modeladmin.message_user(request, _skipped(verb, skipped), messages.WARNING)
        return _back(request)
    context = {
        **modeladmin.admin_site.each_context(request),
        **modeladmin.with_notices(request, None),
        "title": verb.label,
        "verb": verb,
        "opts": modeladmin.opts,
        "media": modeladmin.media,
        "summary": modeladmin.summarize(legal),
        "skipped": _skipped(verb, skipped) if skipped else "",
        "named": legal[:MOST_NAMED],
        "unnamed": len(legal) - len(legal[:MOST_NAMED]),
        "pks": [row.pk for row in legal],
        "checkbox": ACTION_CHECKBOX_NAME,
        "back": _back_url(request),
        "error": error,
        "candidates": candidates(legal[0]) if verb.takes_id else [],
        "given_id": _given_id(request),
    }
    request.current_app = modeladmin.admin_site.name
    return TemplateResponse(request, "admin/django_claude_batches/confirm_action.html", context)


def _skipped(verb: Verb, skipped: list[str]) -> str:
    """Say which rows were skipped and why, and which would not have been."""
    named: Iterable[str] = skipped[:MOST_SKIPPED_NAMED]
    rest = len(skipped) - MOST_SKIPPED_NAMED
    if rest > 0:
        named = [*named, ngettext("and %d more", "and %d more", rest) % rest]
    text = _("%(count)s skipped: %(rows)s. %(rule)s")
    return text % {"count": len(skipped), "rows": "; ".join(row.rstrip(".") for row in named), "rule": verb.rule}


def _back(request: HttpRequest) -> HttpResponseRedirect:
    return HttpResponseRedirect(_back_url(request))


def _back_url(request: HttpRequest) -> str:
    """Give the page that the action was begun on: the list as it was filtered, or the row's page."""
    given = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(given, allowed_hosts={request.get_host()}, require_https=request.is_secure())
    return given if safe else request.get_full_path()
