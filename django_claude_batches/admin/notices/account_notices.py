"""Notices about accounts: a pause, rows of another installation, and findings of an audit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.template.defaultfilters import date as date_filter
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_claude_batches import conf
from django_claude_batches.admin.base.permissions import Viewer
from django_claude_batches.admin.base.safe_settings import known
from django_claude_batches.admin.notices.notice import Notice
from django_claude_batches.models import AccountState
from django_claude_batches.services.account_pauses import KEY_REFUSED_PREFIX


def about_accounts(viewer: Viewer, accounts: Iterable[Any]) -> Iterator[Notice]:
    for account in accounts:
        url = viewer.row_url(AccountState, account.pk)
        for text in _texts(account, may_view=bool(url)):
            yield Notice(text, url, _("Account %(alias)s") % {"alias": account.alias})


def _texts(account: Any, *, may_view: bool) -> Iterator[str]:
    named = {"account": account.alias}
    name = known(conf.installation, "")
    if account.belongs_to_other_installation(name):
        text = _(
            'This database belongs to "%(known)s", and the settings say "%(name)s": it may be a copy. Nothing is '
            'done for "%(account)s" until a person confirms that it is not.'
        )
        yield text % {**named, "known": account.installation, "name": name}
    if account.is_paused and may_view:
        reason, remedy = _why_and_remedy(account)
        text = _('Sending is paused for "%(account)s": %(reason)s Running batches are still fetched. %(remedy)s')
        yield text % {**named, "reason": reason, "remedy": remedy}
    elif account.is_paused:  # the reason requires view_accountstate
        yield _('Sending is paused for "%(account)s". Running batches are still fetched.') % named
    if account.is_slow:
        text = _(
            'The server of "%(account)s" has not answered in time since %(since)s. It is called less often until '
            "it does. Batches of other accounts are not affected."
        )
        yield text % {**named, "since": _end(account.slow_since)}
    if account.audit_findings:
        text = ngettext(
            'The audit of "%(account)s" at %(at)s found %(n)s problem that requires a person.',
            'The audit of "%(account)s" at %(at)s found %(n)s problems that require a person.',
            account.audit_findings,
        )
        found = text % {**named, "at": _moment(account.audited_at), "n": f"{account.audit_findings:,}"}
        shows = _("Its page says what to do.") if may_view else _audit_command(account.alias)
        yield f"{found} {shows}"


def _audit_command(alias: str) -> str:
    return _("`manage.py claude_batches audit --account %(account)s` says what to do.") % {"account": alias}


def _why_and_remedy(account: AccountState) -> tuple[str, str]:
    """Return two sentences: why nothing is sent, in the API's words except for a refused key, and what to do."""
    reason = f"{account.pause_reason.rstrip('.')}."
    if account.paused_until is not None:
        return reason, _("It resumes automatically at %(until)s.") % {"until": _end(account.paused_until)}
    if account.pause_reason.startswith(KEY_REFUSED_PREFIX):
        return _("Anthropic refused the key (401)."), _("Replace the key, then Resume.")
    return reason, _("When that is fixed, Resume.")


def _moment(at: datetime | None) -> str:
    return date_filter(localtime(at), "DATETIME_FORMAT") if at else "…"


def _end(at: datetime | None) -> str:
    """Return a time for the end of a sentence, without the full stop of "p.m.": the sentence has its own."""
    return _moment(at).rstrip(".")
