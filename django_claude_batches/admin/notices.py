"""What stands above every page of ours while something keeps batches from moving."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.defaultfilters import date as date_filter
from django.urls import reverse
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from django_claude_batches.models import AccountState, MessageBatch


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
    return found + [_paused(account, link) for account in accounts.paused()]


def _paused(account: AccountState, url: str) -> Notice:
    values = {"account": account.alias, "reason": account.pause_reason}
    if account.paused_until is None:
        text = _('Sending is paused for "%(account)s", until somebody resumes it: %(reason)s') % values
    else:
        values["until"] = date_filter(localtime(account.paused_until), "SHORT_DATETIME_FORMAT")
        text = _('Sending is paused for "%(account)s", until %(until)s: %(reason)s') % values
    return Notice(text, url, _("Accounts") if url else "")


def _accounts_link(request: HttpRequest, site: AdminSite) -> str:
    if not site.is_registered(AccountState):
        return ""
    if not site.get_model_admin(AccountState).has_view_or_change_permission(request):
        return ""
    return reverse("admin:django_claude_batches_accountstate_changelist", current_app=site.name)
