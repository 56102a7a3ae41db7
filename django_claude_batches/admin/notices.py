"""What stands above every page of ours while something keeps batches from moving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Exists, OuterRef
from django.http import HttpRequest
from django.template.defaultfilters import date as date_filter
from django.urls import reverse
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from django_claude_batches import conf
from django_claude_batches.models import AccountState, MessageBatch

KEY_REFUSED = "Anthropic answered 401 "
"""How the text of KeyRefused begins. What it says beyond that stands on the account's page."""


@dataclass(frozen=True, slots=True)
class Notice:
    text: str
    url: str = ""
    link: str = ""


def notices(request: HttpRequest, site: AdminSite) -> list[Notice]:
    """Give what to say now: three small queries at most."""
    accounts = AccountState.objects.primary()
    found = []
    # Asked in this order because a tick is the usual case: then what is due need not be looked for.
    if not accounts.ticking().exists() and MessageBatch.objects.primary().due().exists():
        found.append(
            Notice(_("Nothing is moving. Start a worker and beat, or run `manage.py claude_batches tick --loop`."))
        )
    link = _accounts_link(request, site)
    name = conf.installation()
    known: Any = accounts.annotate(is_paused=Exists(accounts.paused().filter(pk=OuterRef("pk"))))
    for account in known:
        if account.is_elsewhere(name):
            found.append(_elsewhere(account, name, link))
        if account.is_paused:
            found.append(_paused(account, link))
    return found


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
        until = date_filter(localtime(account.paused_until), "SHORT_DATETIME_FORMAT").rstrip(".")
        return reason, _("It is resumed by itself at %(until)s.") % {"until": until}
    if account.pause_reason.startswith(KEY_REFUSED):
        return _("Anthropic refused the key (401)."), _("Replace the key, then Resume.")
    return reason, _("When that is mended, Resume.")


def _accounts_link(request: HttpRequest, site: AdminSite) -> str:
    if not site.is_registered(AccountState):
        return ""
    if not site.get_model_admin(AccountState).has_view_or_change_permission(request):
        return ""
    return reverse("admin:django_claude_batches_accountstate_changelist", current_app=site.name)
