"""Search for unconfirmed batches until it is proved whether Anthropic received them."""

from __future__ import annotations

from collections.abc import Iterator
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
    remember_adopted,
    remember_listed,
)
from django_claude_batches.services.listings.page import list_page, no_answer_is_missing
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

# Between two listings that count: what one of them lacks by chance, the other one shows.
MIN_LISTING_INTERVAL = timedelta(minutes=10)

# After `sent_at`: by then what it made has ended, and its results could have been read for a day. The texts say so too.
OVERDUE_AFTER = timedelta(hours=48)

# Unconfirmed batches that one listing serves.
MAX_BATCHES_PER_SEARCH = 200

# Candidates that an attempt keeps for people to see.
MAX_SHOWN_CANDIDATES = 100


@dataclass(frozen=True)
class UnconfirmedBatch:
    """A batch in state UNCERTAIN that this process has leased, and its last create call, which was sent."""

    batch: MessageBatch
    token: str
    attempt: SubmitAttempt
    sent_at: datetime

    def is_overdue(self, at: datetime) -> bool:
        return self.sent_at + OVERDUE_AFTER < at


def reconcile(batch: MessageBatch, token: str, client: BatchesClient) -> bool:
    """Search for what an unconfirmed create call made. Return whether there is more to do at once.

    A tag in the results proves it. That nothing was received is proved by two full listings without a candidate, ten
    minutes apart and both long after the call could still have been running. Until then it is not sent again. One
    search serves all unconfirmed batches of the account that are due.
    """
    if _accept_recorded_answer(batch):
        return True
    attempt = batch.last_attempt
    if attempt is None or attempt.sent_at is None:
        batch.reschedule(acceptance.UNCERTAIN_RECHECK, token=token)
        return False
    with _lease_others(batch) as others:
        return _search([UnconfirmedBatch(batch, token, attempt, attempt.sent_at), *others], client)


def abandon(batch: MessageBatch, *, by: Any = None) -> MessageBatch:
    """Stop waiting for an unconfirmed batch. It may have been billed; a later proof still revives it.

    Repeating it does nothing; raise InvalidTransition for any other batch.
    """
    if batch.move(State.ABANDONED, allowed={State.UNCERTAIN}):
        batch.log_event("abandoned", by=by)
        if batch.is_being_identified:
            # `move` left it without a next action: make it due, so that a worker verifies the identified id.
            batch.record_intent({State.ABANDONED})
    elif batch.state != State.ABANDONED:
        raise batch.forbidden("abandon", {State.UNCERTAIN})
    return batch


def _accept_recorded_answer(batch: MessageBatch) -> bool:
    """Accept an answer that was recorded after all on the last attempt that may have made a batch."""
    made = batch.attempts.using(MessageBatch.objects.primary().db).may_have_created().last()
    if made is None or not made.remote_id:
        return False
    acceptance.record_acceptance(batch, made)
    return batch.state != State.UNCERTAIN


@contextmanager
def _lease_others(batch: MessageBatch) -> Iterator[list[UnconfirmedBatch]]:
    """Lease the account's other unconfirmed batches that are due.

    Not those with a recorded answer or an identified id: the engine handles these first.
    """
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
    """Yield the batches with their last attempts, if these were sent."""
    last: dict[int, SubmitAttempt] = {}
    for attempt in SubmitAttempt.objects.primary().filter(batch__in=held).order_by("number"):
        last[attempt.batch_id or 0] = attempt
    for batch in MessageBatch.objects.primary().filter(pk__in=held).order_by("pk"):
        found = last.get(batch.pk)
        if found is not None and found.sent_at is not None:
            yield UnconfirmedBatch(batch, held[batch.pk], found, found.sent_at)


def _search(unconfirmed: list[UnconfirmedBatch], client: BatchesClient) -> bool:
    """Search for all of them. Return whether there is more to do at once for the first."""
    alias = unconfirmed[0].batch.account
    began_at = AccountState.objects.primary().clock()
    attempts = [each.attempt for each in unconfirmed]
    renew = heartbeat({each.batch.pk: each.token for each in unconfirmed})

    def pages(after_id: str | None = None, **what: Any) -> Reply[wire.Page]:
        renew()
        return list_page(client, alias, after_id, **what)

    listing = result_or_error(lambda: list_for_attempts(pages, alias, attempts, gone_ids(alias)))
    if isinstance(listing, ClaudeBatchesError):
        _handle_listing_error(unconfirmed, listing, began_at)
        return False
    windows = [Window.of(attempt) for attempt in attempts]
    remember_listed(alias, listing, windows)
    remember_adopted(alias, windows)
    renew()
    retrieve_anchors(client, alias, attempts_without_anchor(listing, attempts, gone_ids(alias)), listing.workspace_id)
    renew()
    # A candidate that is proved to be an attempt's goes to it and its batch, which is then no longer unconfirmed.
    examine(client, open_candidates(alias, windows), listing, likely=[each.batch.request_count for each in unconfirmed])
    gone = gone_ids(alias)  # anew: the steps above count what is not found
    candidates = open_candidates(alias, windows)
    more = [_decide(each, listing, candidates, gone, began_at) for each in unconfirmed]
    return more[0]


def _handle_listing_error(unconfirmed: list[UnconfirmedBatch], error: ClaudeBatchesError, began_at: datetime) -> None:
    for each in unconfirmed:
        if each.is_overdue(began_at):
            why = f"no listing within 48 hours was complete: {error}"
            close_attempt.hold_undecided(each.batch, each.attempt, why)
            continue
        delay = honor_retry_after(error, poll_delay(each.sent_at))
        each.batch.reschedule(delay, token=each.token, error=str(error))


def _decide(
    unconfirmed: UnconfirmedBatch,
    listing: Listing,
    candidates: list[RemoteBatch],
    gone: frozenset[str],
    began_at: datetime,
) -> bool:
    """Do what follows for one batch. Return whether there is more to do at once."""
    batch, attempt = unconfirmed.batch, unconfirmed.attempt
    batch.refresh_from_db(using=MessageBatch.objects.primary().db)
    if batch.state != State.UNCERTAIN:  # it was found (`examine`), or a person moved it
        return True
    window = Window.of(attempt)
    its_candidates = [row for row in candidates if window.may_have_made(row.remote_id, row.created_at)]
    is_quiet_period_over = unconfirmed.sent_at + quiet_period(attempt) < began_at
    shown, why_incomplete = completeness(listing, attempt, gone)
    # Only pages asked for until the second counted listing matter, if there are two; otherwise all those until now.
    counted_until = attempt.last_listing_at if attempt.listings_made >= FULL_LISTINGS else None
    is_none_missing = no_answer_is_missing(batch.account, counted_until)
    if not is_none_missing:  # it has reset the count if a process died
        attempt.refresh_from_db(fields=["listings_made", "last_listing_at"])
    is_proof = is_quiet_period_over and shown is Completeness.FULL and not its_candidates
    full_listings = _count_full_listing(attempt, began_at, is_proof=is_proof, has_candidates=bool(its_candidates))
    facts = Facts(
        is_quiet_period_over=is_quiet_period_over,
        is_overdue=unconfirmed.is_overdue(began_at),
        is_being_identified=batch.is_being_identified,
        listing=shown,
        open_candidates=sum(not row.is_gone for row in its_candidates),
        gone=sum(row.is_gone for row in its_candidates),
        full_listings=full_listings,
        no_answer_is_missing=is_none_missing,
    )
    _show_candidates_on(attempt, its_candidates)
    decision = decide(facts)
    # These two are guarded by the attempt's conditional UPDATE (`SubmitAttempt.close`), not by the lease.
    if decision.step is Step.NOT_RECEIVED:
        return close_attempt.record_not_received(batch, attempt)
    if decision.step is Step.HOLD:
        return close_attempt.hold_undecided(batch, attempt, decision.why)
    why = _why_open(batch, its_candidates, why_incomplete)
    batch.reschedule(poll_delay(unconfirmed.sent_at), token=unconfirmed.token, last_error=why)
    return False


def _count_full_listing(attempt: SubmitAttempt, began_at: datetime, *, is_proof: bool, has_candidates: bool) -> int:
    """Count a listing that `is_proof` if the last one is long enough ago; start at 0 again when there are candidates.

    Return the number of those counted. The count stops at FULL_LISTINGS, so that `last_listing_at` stays the time of
    the last one needed.
    """
    rows = SubmitAttempt.objects.primary().filter(pk=attempt.pk, listings_made=attempt.listings_made)
    if has_candidates and attempt.listings_made:
        rows.update(listings_made=0, last_listing_at=None)
        return 0
    last = attempt.last_listing_at
    if is_proof and attempt.listings_made < FULL_LISTINGS and (last is None or last + MIN_LISTING_INTERVAL <= began_at):
        # Only if no other process has counted since.
        rows.update(listings_made=F("listings_made") + 1, last_listing_at=DatabaseNow())
        attempt.refresh_from_db(fields=["listings_made", "last_listing_at"])
    # A search that does not count never decides.
    return attempt.listings_made if is_proof else min(attempt.listings_made, FULL_LISTINGS - 1)


def _show_candidates_on(attempt: SubmitAttempt, candidates: list[RemoteBatch]) -> None:
    """Store on the attempt what may be it, and why that is open, for people to see."""
    shown = [
        {
            "id": row.remote_id,
            "created_at": row.created_at.isoformat() if row.created_at else "",
            "requests": row.requests,
            "status": "gone" if row.is_gone else row.status,
            "why": "it was deleted at Anthropic before its results were read" if row.is_gone else _why(row),
        }
        for row in candidates[:MAX_SHOWN_CANDIDATES]
    ]
    if shown != attempt.candidates:
        SubmitAttempt.objects.primary().filter(pk=attempt.pk).update(candidates=shown)


def _why(row: RemoteBatch) -> str:
    return row.why or "its results are still to be read"


def _why_open(batch: MessageBatch, candidates: list[RemoteBatch], why_incomplete: str) -> str:
    reasons = [f"{row.remote_id} may be it, but {_why(row)}" for row in candidates[:3]]
    if why_incomplete:
        reasons.append(f"the search was not complete: {why_incomplete}")
    if batch.is_being_identified:
        reasons.append(f"it was identified as {batch.identified_id}, which is still to be verified")
    if not reasons:
        return "No batch of Anthropic's is it so far; what was sent may still appear."
    return f"Not known yet whether it was received: {'; '.join(reasons)}."
