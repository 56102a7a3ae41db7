"""Stopping an account's submissions, and letting them go again. Running batches are still polled and fetched."""

from __future__ import annotations

import logging

from django_claude_batches import conf
from django_claude_batches.exceptions import APIError
from django_claude_batches.models import AccountState, MessageBatch, State
from django_claude_batches.models.lease import DatabaseNow, after
from django_claude_batches.services.delays import backoff

logger = logging.getLogger(__name__)


def account_state(alias: str) -> AccountState:
    return AccountState.objects.primary().get_or_create(alias=alias)[0]


def known_accounts() -> list[str]:
    """Give the aliases of the settings, and those that rows remember."""
    known = AccountState.objects.primary().values_list("alias", flat=True)
    return sorted({*conf.accounts(), *known})


def is_paused(alias: str) -> bool:
    return AccountState.objects.primary().paused().filter(alias=alias).exists()


def pause(alias: str, error: APIError) -> None:
    """Stop sending for the account: until the time that the API names, else until somebody resumes it."""
    state = account_state(alias)
    until = after(backoff(0, asked=error.retry_after)) if error.retry_after else None
    AccountState.objects.primary().filter(pk=state.pk).update(
        paused_at=DatabaseNow(), paused_until=until, pause_reason=str(error)
    )
    logger.error("Sending is paused for account %s: %s", alias, error)


def resume(alias: str) -> int:
    """Let the account send again, and make its waiting batches due; give how many these are."""
    AccountState.objects.primary().filter(alias=alias).update(paused_at=None, paused_until=None, pause_reason="")
    waiting = MessageBatch.objects.primary().filter(account=alias, state=State.QUEUED)
    return waiting.update(next_action_at=DatabaseNow(), last_error="")
