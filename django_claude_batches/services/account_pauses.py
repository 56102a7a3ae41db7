"""Pause and resume submissions for an account. Batches that already run are still polled and fetched."""

from __future__ import annotations

from django_claude_batches import conf
from django_claude_batches.db.leases import DatabaseNow, now_plus
from django_claude_batches.exceptions import APIStatusError
from django_claude_batches.models import AccountState, MessageBatch, State
from django_claude_batches.models.account import AccountStateQuerySet
from django_claude_batches.models.large_columns import REMOVED_TEXT
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.backoff import backoff, honor_retry_after

logger = get_logger(__name__)

# The reason of a pause after a refused key begins with this. The API has not read the request then.
KEY_REFUSED_PREFIX = "Anthropic answered 401 "


def account_state(alias: str) -> AccountState:
    return AccountState.objects.primary().get_or_create(alias=alias)[0]


def known_accounts() -> list[str]:
    """Return the aliases of accounts in the settings and in the database."""
    known = AccountState.objects.primary().values_list("alias", flat=True)
    return sorted({*conf.accounts(), *known})


def is_paused(alias: str) -> bool:
    return AccountState.objects.primary().paused().filter(alias=alias).exists()


def pause(alias: str, error: APIStatusError, *, until_resumed: bool = False) -> None:
    """Pause submissions for the account until the time that the API names, or else until it is resumed.

    With `until_resumed`, or without such a time, a person has to resume it. Such a pause stays, whatever is refused
    later.
    """
    rows = AccountState.objects.primary().filter(pk=account_state(alias).pk)
    until = now_plus(honor_retry_after(error, backoff(0))) if error.retry_after and not until_resumed else None
    if until is not None:
        rows = rows.exclude(paused_at__isnull=False, paused_until__isnull=True)
    rows.update(paused_at=DatabaseNow(), paused_until=until, pause_reason=str(error))
    logger.error("Sending is paused for account %s: %s", alias, error)


def clear_pause_reasons(accounts: AccountStateQuerySet) -> None:
    """Empty the reasons of these accounts' pauses, which may quote a request. Reasons about a refused key stay."""
    said = accounts.exclude(pause_reason__in=["", REMOVED_TEXT]).exclude(pause_reason__startswith=KEY_REFUSED_PREFIX)
    said.update(pause_reason=REMOVED_TEXT)


def resume(alias: str) -> int:
    """Resume submissions for the account, make its waiting batches due, and return their number."""
    AccountState.objects.primary().filter(alias=alias).update(paused_at=None, paused_until=None, pause_reason="")
    waiting = MessageBatch.objects.primary().filter(account=alias, state=State.QUEUED)
    return waiting.update(next_action_at=DatabaseNow(), last_error="")
