"""Batches of which nobody knows whether Anthropic has them: searched for until it is proved, one way or the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F

from django_claude_batches import wire
from django_claude_batches.client import BatchesClient, Reply
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.exceptions import ClaudeBatchesError, result_or_error
from django_claude_batches.models import AccountState, MessageBatch, RemoteBatch, SubmitAttempt
from django_claude_batches.models.attempt import FULL_LISTINGS
from django_claude_batches.models.batch_state import State
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.backoff import honor_retry_after, poll_delay
from django_claude_batches.services.heartbeat import heartbeat
from django_claude_batches.services.listings.candidates import (
    gone_ids,
    open_candidates,
    store_adopted_candidates,
    store_candidates,
)
from django_claude_batches.services.listings.page import all_answers_stored, list_page
from django_claude_batches.services.listings.search import (
    Completeness,
    Listing,
    attempts_without_anchor,
    completeness,
    list_for_attempts,
)
from django_claude_batches.services.listings.windows import Window
from django_claude_batches.services.reconciliation.decision import Facts, Step, decide
from django_claude_batches.services.reconciliation.inspection import examine, retrieve_anchors
from django_claude_batches.services.submission import acceptance, close_attempt
from django_claude_batches.services.submission.baseline import quiet_period

logger = get_logger(__name__)

MIN_LISTING_INTERVAL = timedelta(minutes=10)
"""Between two listings that count: what one of them lacks by chance, the other one shows."""

OVERDUE_AFTER = timedelta(hours=48)
"""After `sent_at`: by then what it made has ended, and its results could have been read for a day."""

MAX_BATCHES_PER_SEARCH = 200
"""Unconfirmed batches that one listing serves."""

MAX_SHOWN_CANDIDATES = 100
"""Candidates that an attempt keeps for people to see."""


@dataclass(frozen=True)
class UnconfirmedBatch:
    """An unconfirmed batch that this process holds, and its last create call."""

    batch: MessageBatch
    token: str
    attempt: SubmitAttempt


def reconcile(batch: MessageBatch, token: str, client: BatchesClient) -> bool:
    """Search for what an unconfirmed create call made; give whether there is more to do at once.

    A tag in the results proves it. That nothing was received is proved by two full listings without a candidate, ten
    minutes apart and both long after the call could still have been running. Until then it is not sent again. The same
    search serves all unconfirmed batches of the account that are due.
    """
    if _accept_recorded_answer(batch):
        return True
    attempt = batch.last_attempt
    if attempt is None or attempt.sent_at is None:
        batch.reschedule(acceptance.UNCERTAIN_RECHECK, token=token)
        return False
    with _lease_others(batch) as others:
        return _search([UnconfirmedBatch(batch, token, attempt), *others], client)


def abandon(batch: MessageBatch, *, by: Any = None) -> MessageBatch:
    """Wait no more for an unconfirmed batch. It may have been billed; a later proof still revives it.

    Repeating it does nothing; raise InvalidTransition for any other batch.
    """
    if batch.move(State.ABANDONED, allowed={State.UNCERTAIN}):
        batch.log_event("abandoned", by=by)
        if batch.is_being_identified:
            batch.record_intent({State.ABANDONED})  # the claim is still to be verified
    elif batch.state != State.ABANDONED:
        raise batch.forbidden("abandon", {State.UNCERTAIN})
    return batch


def _accept_recorded_answer(batch: MessageBatch) -> bool:
    """Look whether an answer was written down after all, on the last attempt that may have made a batch."""
    made = batch.attempts.using(MessageBatch.objects.primary().db).may_have_created().last()
    if made is None or not made.remote_id:
        return False
    acceptance.record_acceptance(batch, made)
    return bool(batch.state != State.UNCERTAIN)


@contextmanager
def _lease_others(batch: MessageBatch) -> Iterator[list[UnconfirmedBatch]]:
    """Hold the account's other unconfirmed batches that are due, but for those that need something else first."""
    rows = MessageBatch.objects.primary()
    due = rows.due().filter(state=State.UNCERTAIN, account=batch.account, identified_id="").exclude(pk=batch.pk)
    due = due.exclude(attempts__remote_id__isnull=False)
    held: dict[int, str] = {}
    try:
        for pk in list(due.order_by("pk").values_list("pk", flat=True)[:MAX_BATCHES_PER_SEARCH]):
            token = rows.filter(state=State.UNCERTAIN).acquire(pk, dispatched_at=None)
            if token is not None:
                held[pk] = token
        yield list(_with_last_attempts(held)) if held else []
    finally:
        for pk, token in held.items():
            rows.release(pk, token)


def _with_last_attempts(held: dict[int, str]) -> Iterator[UnconfirmedBatch]:
    """Give the batches with their last attempts, where these were sent."""
    last: dict[int, SubmitAttempt] = {}
    for attempt in SubmitAttempt.objects.primary().filter(batch__in=held).order_by("number"):
        last[attempt.batch_id or 0] = attempt
    for batch in MessageBatch.objects.primary().filter(pk__in=held).order_by("pk"):
        found = last.get(batch.pk)
        if found is not None and found.sent_at is not None:
            yield UnconfirmedBatch(batch, held[batch.pk], found)


def _search(unconfirmed: list[UnconfirmedBatch], client: BatchesClient) -> bool:
    """Search for all of them; give whether there is more to do at once for the first."""
    alias = unconfirmed[0].batch.account
    began_at = AccountState.objects.primary().clock()
    attempts = [each.attempt for each in unconfirmed]
    renew = heartbeat({each.batch.pk: each.token for each in unconfirmed})

    def pages(after_id: str | None = None, **what: Any) -> Reply[wire.Page]:
        renew()
        return list_page(client, alias, after_id, **what)

    listing = result_or_error(lambda: list_for_attempts(pages, alias, attempts, gone_ids(alias)))
    if isinstance(listing, ClaudeBatchesError):
        for each in unconfirmed:
            if each.attempt.sent_at is not None and each.attempt.sent_at + OVERDUE_AFTER < began_at:
                close_attempt.hold_undecided(
                    each.batch, each.attempt, f"no listing within 48 hours was complete: {listing}"
                )
                continue
            delay = honor_retry_after(listing, poll_delay(each.attempt.sent_at))
            each.batch.reschedule(delay, token=each.token, error=str(listing))
        return False
    _update_candidates(client, alias, unconfirmed, listing, renew)
    gone = gone_ids(alias)
    candidates = open_candidates(alias, [Window.of(attempt) for attempt in attempts])
    more = [_decide(each, listing, candidates, gone, began_at) for each in unconfirmed]
    return more[0]


def _update_candidates(
    client: BatchesClient,
    alias: str,
    unconfirmed: list[UnconfirmedBatch],
    listing: Listing,
    renew: Callable[[], object],
) -> None:
    attempts = [each.attempt for each in unconfirmed]
    windows = [Window.of(attempt) for attempt in attempts]
    store_candidates(alias, listing, windows)
    store_adopted_candidates(alias, windows)
    renew()
    retrieve_anchors(client, alias, attempts_without_anchor(listing, attempts, gone_ids(alias)), listing.workspace_id)
    renew()
    examine(client, open_candidates(alias, windows), listing, likely=[each.batch.request_count for each in unconfirmed])


def _decide(
    unconfirmed: UnconfirmedBatch,
    listing: Listing,
    candidates: list[RemoteBatch],
    gone: frozenset[str],
    began_at: datetime,
) -> bool:
    """Do what follows for one batch; give whether there is more to do at once."""
    batch, attempt = unconfirmed.batch, unconfirmed.attempt
    batch.refresh_from_db(using=MessageBatch.objects.primary().db)
    if batch.state != State.UNCERTAIN:
        return True
    window = Window.of(attempt)
    maybe = [row for row in candidates if window.may_have_made(row.remote_id, row.created_at)]
    is_quiet = attempt.sent_at is not None and attempt.sent_at + quiet_period(attempt) < began_at
    full, why_not = completeness(listing, attempt, gone)
    # Of these listings, if there are enough; else the one just made is one of them.
    are_all_kept = all_answers_stored(
        batch.account, attempt.last_listing_at if attempt.listings_made >= FULL_LISTINGS else None
    )
    if not are_all_kept:
        attempt.refresh_from_db(fields=["listings_made", "last_listing_at"])
    facts = Facts(
        is_quiet=is_quiet,
        is_overdue=attempt.sent_at is not None and attempt.sent_at + OVERDUE_AFTER < began_at,
        is_being_identified=batch.is_being_identified,
        listing=full,
        candidates=sum(not row.is_gone for row in maybe),
        gone=sum(row.is_gone for row in maybe),
        listings=_count(
            attempt, began_at, counts=is_quiet and full is Completeness.FULL and not maybe, anew=bool(maybe)
        ),
        are_kept=are_all_kept,
    )
    _store_candidates(attempt, maybe)
    decision = decide(facts)
    if decision.step is Step.NOT_RECEIVED:
        return close_attempt.record_not_received(batch, attempt)
    if decision.step is Step.HOLD:
        return close_attempt.hold_undecided(batch, attempt, decision.why)
    why = _why_open(batch, maybe, why_not)
    batch.reschedule(poll_delay(attempt.sent_at), token=unconfirmed.token, last_error=why)
    return False


def _count(attempt: SubmitAttempt, began_at: datetime, *, counts: bool, anew: bool) -> int:
    """Count a full listing without a candidate, if the last one is long enough ago; begin anew when there is one.

    More than are needed are not counted: what came between these is known then, or will be.
    """
    rows = SubmitAttempt.objects.primary().filter(pk=attempt.pk, listings_made=attempt.listings_made)
    if anew and attempt.listings_made:
        rows.update(listings_made=0, last_listing_at=None)
        return 0
    last = attempt.last_listing_at
    if counts and attempt.listings_made < FULL_LISTINGS and (last is None or last + MIN_LISTING_INTERVAL <= began_at):
        # Only if no other process has counted meanwhile.
        rows.update(listings_made=F("listings_made") + 1, last_listing_at=DatabaseNow())
        attempt.refresh_from_db(fields=["listings_made", "last_listing_at"])
    return attempt.listings_made if counts else min(attempt.listings_made, FULL_LISTINGS - 1)


def _store_candidates(attempt: SubmitAttempt, maybe: list[RemoteBatch]) -> None:
    """Keep for people what may be it, and why that is open."""
    shown = [
        {
            "id": row.remote_id,
            "created_at": row.created_at.isoformat() if row.created_at else "",
            "requests": row.requests,
            "status": "gone" if row.is_gone else row.status,
            "why": "it was deleted at Anthropic before its results were read" if row.is_gone else _why(row),
        }
        for row in maybe[:MAX_SHOWN_CANDIDATES]
    ]
    if shown != attempt.candidates:
        SubmitAttempt.objects.primary().filter(pk=attempt.pk).update(candidates=shown)


def _why(row: RemoteBatch) -> str:
    return row.why or "its results are still to be read"


def _why_open(batch: MessageBatch, maybe: list[RemoteBatch], why_not: str) -> str:
    reasons = [f"{row.remote_id} may be it, but {_why(row)}" for row in maybe[:3]]
    if why_not:
        reasons.append(f"the search was not complete: {why_not}")
    if batch.is_being_identified:
        reasons.append(f"somebody says that it is {batch.identified_id}, which is still to be verified")
    if not reasons:
        return "No batch of Anthropic's is it so far; what was sent may still appear."
    return f"Not known yet whether it was received: {'; '.join(reasons)}."
