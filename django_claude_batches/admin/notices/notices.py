"""The notices above every page of the app while batches or runs do not move, or are near a deadline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from django.core.checks import WARNING
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext as _
from django.utils.translation import ngettext_lazy

from django_claude_batches import checks
from django_claude_batches.admin.base.permissions import Viewer
from django_claude_batches.admin.notices.account_notices import about_accounts
from django_claude_batches.admin.notices.notice import Notice, NoticeGroup
from django_claude_batches.admin.notices.row_notices import about_rows, row_counts
from django_claude_batches.models import AccountState
from django_claude_batches.models.due import DUE_MODELS, is_work_due_column

_THINGS = ngettext_lazy("%(n)s thing needs attention", "%(n)s things need attention", "n")
_THINGS_OF_THE_SERVER = ngettext_lazy(
    "%(n)s thing about the server needs attention", "%(n)s things about the server need attention", "n"
)


def notices(viewer: Viewer) -> list[NoticeGroup]:
    """Return the current notices: one query, or a few more before the first tick.

    For superusers, notices about the server are a group of their own.
    """
    accounts = _rows(AccountState, viewer.accounts)
    live = _live(accounts, viewer.accounts)
    rows = about_rows(viewer, live) if live is not None else ()
    things = [*rows, *about_accounts(viewer, accounts)]
    stands_still = live is not None and live.is_due and not any(account.is_ticking for account in accounts)
    still = list(_about_no_tick(viewer)) if stands_still else []
    if not viewer.is_superuser:
        groups = [_group(_THINGS, [*still, *things])]
    else:
        # A check may name any account.
        checked = _failed_checks() if viewer.accounts is None else ()
        groups = [_group(_THINGS, things), _group(_THINGS_OF_THE_SERVER, [*checked, *still])]
    return [group for group in groups if group.notices]


def _group(heading: Any, found: list[Notice]) -> NoticeGroup:
    return NoticeGroup(heading % {"n": len(found)}, found)


def _about_no_tick(viewer: Viewer) -> Iterator[Notice]:
    """Yield the notice that work is due and no tick runs. Only superusers read how to start one."""
    if viewer.is_superuser:
        text = _("Nothing is moving. Start a worker and beat, or run `manage.py claude_batches tick --loop`.")
    else:
        text = _("Nothing is moving: no worker was seen lately. The people who run the server have to start one.")
    yield Notice(text, viewer.list_url(AccountState), _("When the last tick was"))


def _failed_checks() -> Iterator[Notice]:
    """Return notices of the app's failed system checks that are not silenced: a server may run without `check`."""
    for check in checks.ALL:
        for message in check(app_configs=None):
            if message.level >= WARNING and not message.is_silenced():
                yield Notice(f"{message.id}: {message.msg} {message.hint or ''}".rstrip())


def _live(accounts: Sequence[Any], visible: frozenset[str] | None) -> Any:
    """Return a row with the counts as columns: an account, or another row of the app before the first tick; or None."""
    if accounts:
        return accounts[0]
    return next((row for kind in DUE_MODELS for row in _rows(kind, visible)), None)


def _rows(kind: Any, visible: frozenset[str] | None) -> list[Any]:
    if visible == frozenset():
        return []
    using = kind.objects.primary().db
    return list(kind.objects.using(using).raw(*_sql(kind, using, visible)))


@lru_cache(maxsize=100)
def _sql(kind: Any, using: str, visible: frozenset[str] | None) -> tuple[str, tuple[Any, ...]]:
    """Return the SQL, which contains no time and no setting: compiling it takes longer than executing it."""
    rows = kind.objects.using(using).of_accounts(visible, {AccountState: "alias", **DUE_MODELS}[kind])
    rows = rows.annotate(is_due=is_work_due_column(visible), **row_counts(visible))
    if kind is AccountState:
        same = kind.objects.using(using).filter(pk=OuterRef("pk"))
        is_so = {"is_paused": same.paused(), "is_ticking": same.ticking(), "is_slow": same.slow()}
        rows = rows.defer("findings").annotate(**{name: Exists(found) for name, found in is_so.items()})
    else:
        rows = rows.order_by("pk").only("pk")[:1]
    sql, params = rows.query.get_compiler(using).as_sql()
    return sql, tuple(params)
