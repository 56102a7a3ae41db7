"""Mirroring what Anthropic says of a batch: one by one, or a thousand with one listing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Max

from django_claude_batches import wire
from django_claude_batches.client import BatchesClient
from django_claude_batches.conf import ConfigurationError
from django_claude_batches.db.leases import KEYS, after
from django_claude_batches.error_text import described
from django_claude_batches.exceptions import ClaudeBatchesError, RemoteNotFound
from django_claude_batches.models import AccountState, MessageBatch
from django_claude_batches.models.batch.columns import COUNTS
from django_claude_batches.models.batch_state import RUNNING, State
from django_claude_batches.printable import get_logger
from django_claude_batches.services.account_pauses import account_state
from django_claude_batches.services.announcements import tell
from django_claude_batches.services.backoff import CANCEL_POLL, NOW, backoff, next_poll, respecting
from django_claude_batches.services.connection import connect
from django_claude_batches.services.listings.page import page_of
from django_claude_batches.services.mirror import mirrored, moment
from django_claude_batches.services.polling.loss import missed
from django_claude_batches.services.polling.unchanged import is_as_before, look_again_later
from django_claude_batches.services.slow_accounts import may_work, stopping_at_a_slow_call
from django_claude_batches.signals import batch_ended

logger = get_logger(__name__)

PAGES = 5
"""Pages of a thousand in one round; what is older is asked for one by one."""

SINGLES = 50
"""Batches asked for one by one in a round, when the listing did not show them."""

SEEN: dict[str, Any] = {"last_error": "", "misses": 0, "missed_at": None}
"""The columns of a batch that was just seen at Anthropic."""

BUDGET = timedelta(seconds=20)
"""Of one account's round, less than the time between two ticks."""


def observe(batch: MessageBatch, data: wire.MessageBatch) -> bool:
    """Write what was seen, and give whether the batch has ended by it.

    A listing may be older than what we know: a batch goes forward only, from in_progress to canceling to ended.
    An unknown status is kept, and changes no state.
    """
    mirror = mirrored(data)
    with transaction.atomic(using=MessageBatch.objects.primary().db):
        if mirror["processing_status"] == "ended":
            ended = batch.move(State.ENDED, allowed=RUNNING, due=NOW, **SEEN, **mirror)
            if ended:
                batch.note("ended", _outcomes(batch))
        else:
            ended = False
            _still_running(batch, mirror)
    if ended:
        tell(batch_ended, batch)
    return ended


def _still_running(batch: MessageBatch, mirror: dict[str, Any]) -> None:
    canceling = mirror["processing_status"] == "canceling"
    delay = CANCEL_POLL if batch.cancel_requested_at or canceling else next_poll(mirror["created_at"])
    clean = {**SEEN, **mirror}
    if canceling and batch.move(State.CANCELING, allowed={State.IN_PROGRESS}, due=delay, **clean):
        batch.note("canceling")
        return
    state = State(batch.state)
    stale = state == State.CANCELING and mirror["processing_status"] == "in_progress"
    wished = batch.cancel_requested_at
    batch.move(state, allowed=RUNNING & {state}, due=delay, **({} if stale else clean))
    if batch.cancel_requested_at != wished:  # somebody wished while we asked: that is due now, not at the next poll
        batch.wish({State.IN_PROGRESS})


def poll(batch: MessageBatch, token: str, client: BatchesClient) -> bool:
    """Ask for one batch. An error changes nothing but the next poll: a 404 may pass, a 500 will."""
    data = failure = None
    try:
        data = client.retrieve(str(batch.anthropic_id))
    except ClaudeBatchesError as error:
        failure = error
    if data is None:
        if isinstance(failure, RemoteNotFound) and missed(batch, client, str(failure)):
            return False
        batch.put_off(respecting(failure, next_poll(batch.created_at)), token=token, error=str(failure))
        return False
    return observe(batch, data)


def poll_account(alias: str) -> int:
    """Mirror all of an account's due batches with as few calls as possible; give how many were seen.

    One process at a time, under a lease on the account's row. An error is written on the batches that were not seen,
    and stops nothing but this round.
    """
    due = MessageBatch.objects.primary().to_poll().due().filter(account=alias)
    oldest = due.order_by("created_at").first()
    if oldest is None:
        return 0
    state, states = account_state(alias), AccountState.objects.primary()
    token = states.claim(state.pk, next_poll_at=None, poll_hand_outs=0)
    if token is None:
        return 0
    try:
        return _round(alias, oldest.created_at) if may_work(alias, is_polling=True) else 0
    finally:
        states.release(state.pk, token)


@stopping_at_a_slow_call()
def _round(alias: str, oldest: datetime | None) -> int:
    rows = MessageBatch.objects.primary()
    waiting = {batch.anthropic_id: batch for batch in rows.to_poll().due().filter(account=alias)}
    seen = 0
    as_before: list[MessageBatch] = []
    failure: Exception | None = None
    try:
        for data in _listed(alias, connect(alias), waiting, oldest):
            batch = waiting.pop(data["id"], None)
            if batch is None:
                continue
            seen += 1
            if is_as_before(batch, data):
                as_before.append(batch)
            else:
                _observe_or_put_off(batch, data)
    except (ClaudeBatchesError, ConfigurationError) as error:
        failure = error
        logger.warning("Polling account %s: %s", alias, failure)
    except Exception as error:
        failure = error
        logger.exception("Polling account %s failed.", alias)
    look_again_later(as_before)
    if failure is not None:
        _put_off([batch.pk for batch in waiting.values()], failure)
    return seen


def poll_later(alias: str, error: Exception) -> None:
    """Delay the account's due batches after an unexpected error."""
    due = MessageBatch.objects.primary().to_poll().due().filter(account=alias)
    _put_off(list(due.values_list("pk", flat=True)), error)


def _put_off(pks: list[int], error: Exception) -> None:
    for start in range(0, len(pks), KEYS):
        _put_off_some(pks[start : start + KEYS], error)


def _put_off_some(pks: list[int], error: Exception) -> None:
    rows = MessageBatch.objects.primary().to_poll().filter(pk__in=pks)
    failures = rows.aggregate(most=Max("failures"))["most"] or 0
    # Each is looked at a minute later, then less and less often; what the API itself says is passing soon passes.
    delay = backoff(1 if isinstance(error, ClaudeBatchesError) else failures + 1)
    rows.update(next_action_at=after(respecting(error, delay)), last_error=described(error), failures=F("failures") + 1)


def _observe_or_put_off(batch: MessageBatch, data: wire.MessageBatch) -> None:
    """Write what was seen of one batch; where that cannot be done, the others are written all the same."""
    try:
        observe(batch, data)
    except Exception as error:
        logger.exception("Account %s: what was seen of batch %s could not be stored.", batch.account, batch.pk)
        _put_off([batch.pk], error)


def _listed(
    alias: str, client: BatchesClient, waiting: dict[str | None, MessageBatch], oldest: datetime | None
) -> Iterator[wire.MessageBatch]:
    """Give the account's batches down to the oldest that we wait for, then single ones that were not among them."""
    give_up_at = time.monotonic() + BUDGET.total_seconds()
    after_id: str | None = None
    for _page in range(PAGES):
        page = page_of(client, alias, after_id=after_id).data
        yield from page["data"]
        after_id = page["last_id"]
        last = moment(page["data"][-1]["created_at"]) if page["data"] else None
        older = oldest is None or last is None or last >= oldest
        if not (waiting and page["has_more"] and after_id and older) or time.monotonic() > give_up_at:
            break
    for batch in list(waiting.values())[:SINGLES]:
        if time.monotonic() > give_up_at:
            break
        try:
            data = client.retrieve(str(batch.anthropic_id))
        except ClaudeBatchesError as error:
            if isinstance(error, RemoteNotFound) and missed(batch, client, str(error)):
                continue
            late = MessageBatch.objects.primary().to_poll().filter(pk=batch.pk)
            delay = respecting(error, next_poll(batch.created_at))
            late.update(next_action_at=after(delay), last_error=str(error))
            continue
        yield data


def _outcomes(batch: MessageBatch) -> str:
    counts = {name: getattr(batch, f"{name}_count") for name in COUNTS}
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
