"""Mirror all of an account's running batches with as few calls and statements as possible."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import F, Max, Q

from django_claude_batches import wire
from django_claude_batches.client import BatchesClient
from django_claude_batches.client.paging import list_pages
from django_claude_batches.conf import ConfigurationError
from django_claude_batches.db.keyset import chunked
from django_claude_batches.db.leases import MAX_KEYS, now_plus
from django_claude_batches.error_text import format_error
from django_claude_batches.exceptions import ClaudeBatchesError, NotFoundError
from django_claude_batches.models import AccountState, MessageBatch
from django_claude_batches.models.batch_state import State
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.account_pauses import account_state
from django_claude_batches.services.backoff import CANCEL_POLL_DELAY, backoff, honor_retry_after, poll_delay
from django_claude_batches.services.connection import connect
from django_claude_batches.services.listings.page import list_page
from django_claude_batches.services.mirror import mirror_columns, moment
from django_claude_batches.services.polling.loss import record_miss
from django_claude_batches.services.polling.poll import update_from_remote
from django_claude_batches.services.slow_accounts import may_start_work, stop_after_slow_call

logger = get_logger(__name__)

# Delays are rounded to this, so that batches share a statement and polls stay spread.
DELAY_STEP = timedelta(seconds=5)

STATUSES = {State.IN_PROGRESS: "in_progress", State.CANCELING: "canceling"}


def is_unchanged(batch: MessageBatch, data: wire.MessageBatch) -> bool:
    """Return whether the batch is unchanged, and only its next poll has to be stored."""
    state = State(batch.state)
    if STATUSES.get(state) != data["processing_status"] or batch.last_error or batch.missed_at is not None:
        return False
    if state == State.IN_PROGRESS and batch.cancel_requested_at is not None:
        return False
    return all(getattr(batch, name) == value for name, value in mirror_columns(data).items())


def schedule_next_polls(batches: list[MessageBatch]) -> None:
    """Set the next poll of each batch, unless an intent was recorded since."""
    by_delay: dict[tuple[str, int], list[int]] = defaultdict(list)
    for batch in batches:
        delay = CANCEL_POLL_DELAY if batch.state == State.CANCELING else poll_delay(batch.created_at)
        by_delay[batch.state, max(round(delay / DELAY_STEP), 1)].append(batch.pk)
    for (state, steps), pks in by_delay.items():
        rows = MessageBatch.objects.primary().filter(pk__in=pks, state=state)
        unwished = rows.filter(Q(state=State.CANCELING) | Q(cancel_requested_at__isnull=True))
        unwished.update(next_action_at=now_plus(DELAY_STEP * steps), tries=0, failures=0)


# Pages of a thousand in one round; older batches are retrieved one by one.
MAX_PAGES = 5

# Batches retrieved one by one in a round because the listing did not show them.
MAX_SINGLE_RETRIEVES = 50

# For one account's round: less than the time between two ticks.
BUDGET = timedelta(seconds=20)


def poll_account(alias: str) -> int:
    """Poll all of an account's due batches with as few calls as possible; return how many were seen.

    One process at a time, under a lease on the account's row. An error is recorded on the batches that were not seen,
    and ends only this round.
    """
    due = MessageBatch.objects.primary().to_poll().due().filter(account=alias)
    oldest = due.order_by("created_at").first()
    if oldest is None:
        return 0
    state, states = account_state(alias), AccountState.objects.primary()
    with states.lease(state.pk, next_poll_at=None, poll_dispatch_count=0) as token:
        if token is None or not may_start_work(alias, is_polling=True):
            return 0
        return _poll_round(alias, oldest.created_at)


@stop_after_slow_call()
def _poll_round(alias: str, oldest: datetime | None) -> int:
    rows = MessageBatch.objects.primary()
    waiting = {batch.anthropic_id: batch for batch in rows.to_poll().due().filter(account=alias)}
    seen = 0
    unchanged: list[MessageBatch] = []
    failure: Exception | None = None
    try:
        for data in _listed(alias, connect(alias), waiting, oldest):
            batch = waiting.pop(data["id"], None)
            if batch is None:
                continue
            seen += 1
            if is_unchanged(batch, data):
                unchanged.append(batch)
            else:
                _update_or_delay(batch, data)
    except (ClaudeBatchesError, ConfigurationError) as error:
        failure = error
        logger.warning("Polling account %s: %s", alias, failure)
    except Exception as error:
        failure = error
        logger.exception("Polling account %s failed.", alias)
    schedule_next_polls(unchanged)
    if failure is not None:
        _delay_polls([batch.pk for batch in waiting.values()], failure)
    return seen


def delay_polls(alias: str, error: Exception) -> None:
    """Delay the account's due batches after an unexpected error."""
    due = MessageBatch.objects.primary().to_poll().due().filter(account=alias)
    _delay_polls(list(due.values_list("pk", flat=True)), error)


def _delay_polls(pks: list[int], error: Exception) -> None:
    for chunk in chunked(pks, MAX_KEYS):
        rows = MessageBatch.objects.primary().to_poll().filter(pk__in=chunk)
        failures = rows.aggregate(most=Max("failures"))["most"] or 0
        # Each is polled a minute later, then less and less often. Errors of the API itself are assumed to be short.
        delay = backoff(1 if isinstance(error, ClaudeBatchesError) else failures + 1)
        rows.update(
            next_action_at=now_plus(honor_retry_after(error, delay)),
            last_error=format_error(error),
            failures=F("failures") + 1,
        )


def _update_or_delay(batch: MessageBatch, data: wire.MessageBatch) -> None:
    """Update one batch; if that fails, the others are updated all the same."""
    try:
        update_from_remote(batch, data)
    except Exception as error:
        logger.exception("Account %s: what was seen of batch %s could not be stored.", batch.account, batch.pk)
        _delay_polls([batch.pk], error)


def _listed(
    alias: str, client: BatchesClient, waiting: dict[str | None, MessageBatch], oldest: datetime | None
) -> Iterator[wire.MessageBatch]:
    """Yield the account's batches down to the oldest due one, then those not listed, retrieved one by one."""
    give_up_at = time.monotonic() + BUDGET.total_seconds()
    for reply in list_pages(lambda after_id: list_page(client, alias, after_id), max_pages=MAX_PAGES):
        page = reply.data["data"]
        yield from page
        last = moment(page[-1]["created_at"]) if page else None
        older = oldest is None or last is None or last >= oldest
        if not (waiting and older) or time.monotonic() > give_up_at:
            break
    for batch in list(waiting.values())[:MAX_SINGLE_RETRIEVES]:
        if time.monotonic() > give_up_at:
            break
        try:
            data = client.retrieve(str(batch.anthropic_id))
        except ClaudeBatchesError as error:
            if isinstance(error, NotFoundError) and record_miss(batch, client, str(error)):
                continue
            late = MessageBatch.objects.primary().to_poll().filter(pk=batch.pk)
            delay = honor_retry_after(error, poll_delay(batch.created_at))
            late.update(next_action_at=now_plus(delay), last_error=str(error))
            continue
        yield data
