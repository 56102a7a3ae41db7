"""What stands above every page of ours while something keeps batches from moving, or is about to be too late."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.db.models import Exists, Model, OuterRef
from django.http import HttpRequest
from django.template.defaultfilters import date as date_filter
from django.urls import reverse
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_claude_batches import conf
from django_claude_batches.admin.filters import NEARING
from django_claude_batches.models import AccountState, MessageBatch
from django_claude_batches.models.state import RUNNING

KEY_REFUSED = "Anthropic answered 401 "
"""How the text of KeyRefused begins. What it says beyond that stands on the account's page."""


MOST_NAMED = 100
"""Batches that a notice counts: beyond that it says so, and the list shows them."""


@dataclass(frozen=True, slots=True)
class Notice:
    text: str
    url: str = ""
    link: str = ""


def notices(request: HttpRequest, site: AdminSite) -> list[Notice]:
    """Give what to say now: three small queries at most."""
    accounts = AccountState.objects.primary()
    own = {"pk": OuterRef("pk")}
    known: Any = accounts.annotate(
        is_paused=Exists(accounts.paused().filter(**own)), is_ticking=Exists(accounts.ticking().filter(**own))
    )
    found = []
    # Asked in this order because a tick is the usual case: then what is due need not be looked for.
    if not any(account.is_ticking for account in known) and MessageBatch.objects.primary().due().exists():
        found.append(
            Notice(_("Nothing is moving. Start a worker and beat, or run `manage.py claude_batches tick --loop`."))
        )
    found += _nearing_their_end(request, site)
    link = _link(request, site, AccountState)
    name = conf.installation()
    for account in known:
        if account.is_elsewhere(name):
            found.append(_elsewhere(account, name, link))
        if account.is_paused:
            found.append(_paused(account, link))
        if account.audit_findings:
            found.append(_audited(account, link))
    return found


def _nearing_their_end(request: HttpRequest, site: AdminSite) -> Iterator[Notice]:
    """Say what is about to be too late, from the few batches that are in flight: an index serves it."""
    near = MessageBatch.objects.primary().nearing_their_end().order_by().values_list("state", flat=True)
    states = list(near[: MOST_NAMED + 1])
    running = sum(state in RUNNING for state in states)
    fetching = len(states) - running
    url = _link(request, site, MessageBatch, **{NEARING: "yes"})
    link = _("Show them") if url else ""
    if running:
        words = ngettext(
            "%(n)s batch has been running for 23 hours: what Anthropic has not processed after 24 expires. That is not "
            "billed, and a retry drafts it anew.",
            "%(n)s batches have been running for 23 hours: what Anthropic has not processed after 24 expires. That is "
            "not billed, and a retry drafts it anew.",
            running,
        )
        yield Notice(words % {"n": _at_most(running)}, url, link)
    if fetching:
        words = ngettext(
            "%(n)s batch has results that are not all stored, and they can be fetched for less than 2 days more. Mend "
            "what its last error says, then Check now.",
            "%(n)s batches have results that are not all stored, and they can be fetched for less than 2 days more. "
            "Mend what their last error says, then Check now.",
            fetching,
        )
        yield Notice(words % {"n": _at_most(fetching)}, url, link)


def _at_most(count: int) -> str:
    return f"{count:,}" if count <= MOST_NAMED else _("More than %(n)s") % {"n": f"{MOST_NAMED:,}"}


def _audited(account: AccountState, url: str) -> Notice:
    words = ngettext(
        'The audit of "%(account)s" at %(at)s found %(n)s thing that needs a person. `manage.py claude_batches audit '
        "--account %(account)s` says what, and what to do.",
        'The audit of "%(account)s" at %(at)s found %(n)s things that need a person. `manage.py claude_batches audit '
        "--account %(account)s` says what, and what to do.",
        account.audit_findings,
    )
    at = _moment(account.audited_at)
    text = words % {"account": account.alias, "at": at, "n": f"{account.audit_findings:,}"}
    return Notice(text, url, _("Accounts") if url else "")


def _elsewhere(account: AccountState, name: str, url: str) -> Notice:
    words = _(
        'This database is "%(known)s"\'s, and the settings say "%(name)s": it may be a copy. Nothing is done for '
        '"%(account)s" until somebody confirms that it is not.'
    )
    text = words % {"known": account.installation, "name": name, "account": account.alias}
    return Notice(text, url, _("Accounts") if url else "")


def _paused(account: AccountState, url: str) -> Notice:
    reason, remedy = _why_and_remedy(account)
    words = _('Sending is paused for "%(account)s": %(reason)s Running batches are still fetched. %(remedy)s')
    text = words % {"account": account.alias, "reason": reason, "remedy": remedy}
    return Notice(text, url, _("Accounts") if url else "")


def _why_and_remedy(account: AccountState) -> tuple[str, str]:
    """Give two sentences: why nothing is sent, in the API's words but for a refused key, and what ends that."""
    reason = f"{account.pause_reason.rstrip('.')}."
    if account.paused_until is not None:
        return reason, _("It is resumed by itself at %(until)s.") % {"until": _moment(account.paused_until)}
    if account.pause_reason.startswith(KEY_REFUSED):
        return _("Anthropic refused the key (401)."), _("Replace the key, then Resume.")
    return reason, _("When that is mended, Resume.")


def _moment(at: datetime | None) -> str:
    """Give a time as people write it, without the full stop of "p.m.": the sentence brings its own."""
    return date_filter(localtime(at), "SHORT_DATETIME_FORMAT").rstrip(".") if at else "…"


def _link(request: HttpRequest, site: AdminSite, model: type[Model], **query: str) -> str:
    """Give the address of the model's list, empty where the user may not see it."""
    if not site.is_registered(model):
        return ""
    if not site.get_model_admin(model).has_view_or_change_permission(request):
        return ""
    path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist", current_app=site.name)
    return f"{path}?{urlencode(query)}" if query else path
