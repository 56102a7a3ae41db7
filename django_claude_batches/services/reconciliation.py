"""Batches of which nobody knows whether Anthropic has them: searched for until it is proved, one way or the other."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.db.models import F

from django_claude_batches import conf, wire
from django_claude_batches.client import BatchesClient
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.models import MessageBatch, SubmitAttempt
from django_claude_batches.models.lease import after
from django_claude_batches.models.state import State
from django_claude_batches.services import accepting, settling
from django_claude_batches.services.delays import next_poll, respecting
from django_claude_batches.services.mirroring import total
from django_claude_batches.services.searching import Listing, judge, list_since

logger = logging.getLogger(__name__)

READ_TIMEOUT = timedelta(seconds=600)
"""How long after the last byte of a create call its answer is waited for (the client's own timeout)."""

LISTINGS = 2
"""Full listings without a candidate, before a call counts as not received."""


def reconcile(batch: MessageBatch, token: str, client: BatchesClient) -> bool:
    """Search for what an unconfirmed create call made; give whether there is more to do at once.

    A tag in the results proves it. That nothing was received is proved by two full listings without a candidate, the
    last of them long after the call could still have been running. Until then it is not sent again.
    """
    if _found_its_answer(batch):
        return True
    attempt = batch.last_attempt
    if attempt is None or attempt.sent_at is None:
        batch.put_off(accepting.UNCERTAIN_RECHECK, token=token)
        return False
    is_late = _is_past_quiet_period(attempt)
    failure: ClaudeBatchesError | None = None
    try:
        listing = list_since(client, attempt, batch.account)
        candidates = _candidates(batch, attempt, client, listing)
    except ClaudeBatchesError as error:
        failure = error
    if failure is not None:
        batch.put_off(respecting(failure, next_poll(attempt.sent_at)), token=token, error=str(failure))
        return False
    batch.refresh_from_db(using=MessageBatch.objects.primary().db)
    if batch.state != State.UNCERTAIN:
        return True
    if candidates or not listing.is_full or batch.is_claimed:
        return _still_open(batch, attempt, token, candidates, listing)
    return _nothing_found(batch, attempt, token, is_late=is_late)


def give_up(batch: MessageBatch, *, by: Any = None) -> MessageBatch:
    """Wait no more for an unconfirmed batch. It may have been billed; a later proof still revives it.

    Repeating it does nothing; raise InvalidTransition for any other batch.
    """
    if batch.move(State.ABANDONED, allowed={State.UNCERTAIN}):
        batch.note("given_up", by=by)
        if batch.is_claimed:
            batch.wish({State.ABANDONED})  # what somebody said is still to be verified
    elif batch.state != State.ABANDONED:
        raise batch.forbidden("give up", {State.UNCERTAIN})
    return batch


def examine(client: BatchesClient, attempts: list[SubmitAttempt], data: wire.MessageBatch) -> str:
    """Judge one remote batch for some attempts: give it to its owner, or exclude it for all of them; say why.

    An empty text means that it is settled.
    """
    verdict = judge(client, data)
    if verdict.attempt is not None:
        accepting.proven(verdict.attempt, data["id"])
        return ""
    if not verdict.is_excluded:
        return verdict.why
    for attempt in attempts:
        attempt.excluded_ids = [*attempt.excluded_ids, data["id"]]
        SubmitAttempt.objects.primary().filter(pk=attempt.pk).update(excluded_ids=attempt.excluded_ids)
    return ""


def is_candidate(data: wire.MessageBatch, attempt: SubmitAttempt, request_count: int) -> bool:
    """Whether a remote batch may be this attempt's: as many requests, not excluded, no other attempt's."""
    if total(data) != request_count or data["id"] in attempt.excluded_ids:
        return False
    return not SubmitAttempt.objects.primary().filter(remote_id=data["id"]).exclude(pk=attempt.pk).exists()


def _found_its_answer(batch: MessageBatch) -> bool:
    """Look whether an answer was written down after all, on any attempt."""
    for attempt in batch.attempts.using(MessageBatch.objects.primary().db).filter(remote_id__isnull=False):
        accepting.accepted(batch, attempt)
        if batch.state != State.UNCERTAIN:
            return True
    return False


def _is_past_quiet_period(attempt: SubmitAttempt) -> bool:
    """Whether the call can no longer be running, and what it made has had time to appear; by the database's clock."""
    quiet = conf.send_deadline() + READ_TIMEOUT + conf.submit_quiet_period()
    return SubmitAttempt.objects.primary().filter(pk=attempt.pk, sent_at__lt=after(-quiet)).exists()


def _candidates(
    batch: MessageBatch, attempt: SubmitAttempt, client: BatchesClient, listing: Listing
) -> list[dict[str, Any]]:
    """Examine what may be the batch, and give what stays open, with the reason, for people to see."""
    open_ones = []
    for data in listing.batches:
        if not is_candidate(data, attempt, batch.request_count):
            continue
        if why := examine(client, [attempt], data):
            about = {"id": data["id"], "created_at": data["created_at"], "requests": total(data)}
            open_ones.append({**about, "status": data["processing_status"], "why": why})
    return open_ones


def _still_open(
    batch: MessageBatch, attempt: SubmitAttempt, token: str, candidates: list[dict[str, Any]], listing: Listing
) -> bool:
    if candidates or listing.is_full:  # what a search that saw less did not see may still be it
        SubmitAttempt.objects.primary().filter(pk=attempt.pk).update(candidates=candidates)
    reasons = [f"{candidate['id']} may be it, but {candidate['why']}" for candidate in candidates[:3]]
    if not listing.is_full:
        reasons.append(f"the search was not complete: {listing.why_not}")
    if batch.is_claimed:
        reasons.append(f"somebody says that it is {batch.claimed_id}, which is still to be verified")
    why = "; ".join(reasons)
    batch.put_off(next_poll(attempt.sent_at), token=token, last_error=f"Not known yet whether it was received: {why}.")
    return False


def _nothing_found(batch: MessageBatch, attempt: SubmitAttempt, token: str, *, is_late: bool) -> bool:
    rows = SubmitAttempt.objects.primary().filter(pk=attempt.pk)
    rows.update(candidates=[], listings_made=F("listings_made") + 1)
    attempt.refresh_from_db(using=rows.db)
    if is_late and attempt.listings_made >= LISTINGS:
        return settling.not_received(batch, attempt)
    why = "No batch of Anthropic's is it so far; what was sent may still appear."
    batch.put_off(next_poll(attempt.sent_at), token=token, last_error=why)
    return False
