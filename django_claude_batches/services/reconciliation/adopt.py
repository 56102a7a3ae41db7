"""Add a batch that exists at Anthropic: one created elsewhere, or the one that an unconfirmed row is waiting for."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from django_claude_batches import conf, wire
from django_claude_batches.exceptions import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    ClaudeBatchesError,
    InternalServerError,
    InvalidRequest,
    NotEnded,
    NotOurs,
    RateLimitError,
)
from django_claude_batches.models import MessageBatch
from django_claude_batches.models.batch_state import IDENTIFIABLE, State
from django_claude_batches.models.event import user_name
from django_claude_batches.services.backoff import NO_DELAY, poll_delay
from django_claude_batches.services.connection import connect, require_no_transaction
from django_claude_batches.services.listings.candidates import is_candidate, unmatched_attempts
from django_claude_batches.services.listings.listing import listing_pages
from django_claude_batches.services.listings.windows import Window
from django_claude_batches.services.mirror import mirror_columns, request_total
from django_claude_batches.services.reconciliation.proof import Reading, read
from django_claude_batches.services.submission import acceptance

# Errors that do not refute an identification: it is verified later.
RETRIED_ERRORS = (NotEnded, APIConnectionError, APIResponseValidationError, RateLimitError, InternalServerError)


def adopt(
    id: str,  # noqa: A002 (the API's word)
    *,
    for_batch: MessageBatch | None = None,
    account: str = "default",
    kind: str = "",
    label: str = "",
    by: Any = None,
) -> MessageBatch:
    """Mirror a batch that was created elsewhere, or assign one to an unconfirmed row.

    Created elsewhere: a new row, whose results are fetched like any other's; its requests cannot be read back. For an
    id that a row already has, return that row. `for_batch`: a line of its results must contain the tag of one of the
    batch's attempts, so it can be assigned only when it has ended; otherwise raise NotOurs with the reason. Counts
    prove nothing. Raise APIError if a call fails, InvalidTransition if the row is not unconfirmed.
    """
    require_no_transaction("adopt()")
    if for_batch is not None:
        return _identify(id, for_batch, by=by)
    rows = MessageBatch.objects.primary()
    if (known := rows.filter(anthropic_id=id).first()) is not None:
        return known
    data = connect(account).retrieve(id)
    try:
        return _mirror(data, account=account, kind=kind, label=label, by=by)
    except IntegrityError:  # another process has just adopted it
        return rows.get(anthropic_id=id)


def _mirror(data: wire.MessageBatch, *, account: str, kind: str = "", label: str = "", by: Any = None) -> MessageBatch:
    rows = MessageBatch.objects.primary()
    states = {"ended": State.ENDED, "canceling": State.CANCELING}
    with transaction.atomic(using=rows.db, durable=True):
        batch = rows.create(
            account=account,
            kind=kind,
            label=label,
            created_by=by,
            created_by_name=user_name(by),
            request_count=request_total(data),
        )
        state = states.get(data["processing_status"], State.IN_PROGRESS)
        batch.move(state, allowed={State.DRAFT}, due=NO_DELAY, anthropic_id=data["id"], **mirror_columns(data))
        batch.log_event("adopted", data["id"], by=by)
    return batch


def identify(batch: MessageBatch, id: str, *, by: Any = None) -> MessageBatch:  # noqa: A002 (the API's word)
    """Identify an unconfirmed batch as this one at Anthropic. No HTTP: a worker verifies the id.

    It is verified once that batch has ended. Raise InvalidRequest for an invalid id, InvalidTransition if the batch is
    not unconfirmed. If verification fails, `last_error` and the timeline say why.
    """
    if not wire.BATCH_ID_PATTERN.fullmatch(id):
        raise InvalidRequest(f"a batch's id looks like msgbatch_01…, not {id!r:.80}")
    if not batch.record_intent(IDENTIFIABLE, identified_id=id):
        raise batch.forbidden("adopt for", IDENTIFIABLE)
    batch.log_event("identification_requested", id, by=by)
    return batch


def verify_identification(batch: MessageBatch, token: str) -> bool:
    """Verify the id that a person named; return whether the batch has changed its state.

    While the batch at Anthropic has not ended or Anthropic does not answer, the id stays and the row is rescheduled.
    """
    remote_id = batch.identified_id
    rows = MessageBatch.objects.primary()
    failure: ClaudeBatchesError | None = None
    try:
        _identify(remote_id, batch, by=None)
    except (APIError, NotOurs) as error:
        failure = error
    if isinstance(failure, RETRIED_ERRORS):
        _verify_later(batch, token, failure)
        return False
    rows.leased_by(batch.pk, token).filter(identified_id=remote_id).update(identified_id="")
    if failure is not None:
        batch.log_event("identification_refused", str(failure))
        rows.leased_by(batch.pk, token).update(last_error=str(failure))
    batch.refresh_from_db(using=rows.db)
    return failure is None


def _verify_later(batch: MessageBatch, token: str, why: ClaudeBatchesError) -> None:
    batch.reschedule(poll_delay(batch.queued_at), token=token, last_error=str(why))
    said = batch.events.using(MessageBatch.objects.primary().db).filter(
        what__in=["identification_requested", "identification_pending"]
    )
    last = said.last()
    if isinstance(why, NotEnded) and (last is None or last.what == "identification_requested"):  # once for each request
        batch.log_event("identification_pending", str(why))


def adopt_all(account: str = "default", *, by: Any = None) -> tuple[list[MessageBatch], list[str]]:
    """Mirror everything that the account lists; return the new rows, and the ids that were left out.

    Left out are batches that an unconfirmed submission may have made: adopting them would hide them from the search.
    Raise NotOurs for an account that is SHARED: otherwise others' answers would be stored here, and RETENTION would
    delete their batches at Anthropic.
    """
    require_no_transaction("adopt_all()")
    if conf.account(account).is_shared:
        raise NotOurs(f'Account "{account}" is SHARED: it also lists batches of others. Adopt your own by their ids.')
    adopted, left_out = [], []
    windows = [Window.of(attempt) for attempt in unmatched_attempts(account)]
    listed = listing_pages(connect(account), account)
    for data in (data for page in listed for data in page.batches.values()):
        if MessageBatch.objects.primary().filter(anthropic_id=data["id"]).exists():
            continue
        if is_candidate(account, data, windows):
            left_out.append(data["id"])
        else:
            adopted.append(_mirror(data, account=account, by=by))
    return adopted, left_out


def _identify(remote_id: str, batch: MessageBatch, *, by: Any) -> MessageBatch:
    batch.refresh_from_db(using=MessageBatch.objects.primary().db)
    if batch.anthropic_id == remote_id:
        return batch
    if batch.state not in IDENTIFIABLE:
        raise batch.forbidden("adopt for", IDENTIFIABLE)
    owner = MessageBatch.objects.primary().filter(anthropic_id=remote_id, attempts__remote_id=remote_id).first()
    if owner is not None:
        raise NotOurs(f"{remote_id} is batch {owner} here, which submitted it.")
    client = connect(batch.account, anthropic_version=batch.anthropic_version)
    data = client.retrieve(remote_id)
    is_ended = data["processing_status"] == "ended"
    reading = read(client, remote_id) if is_ended else Reading(why=f"it is {data['processing_status']}")
    if reading.attempt is None or reading.attempt.batch_id != batch.pk:
        reason = f"{remote_id} cannot be shown to be batch {batch}: {_why_not(reading, is_ended=is_ended)}"
        raise NotOurs(reason) if is_ended else NotEnded(reason)
    batch.log_event("identified", remote_id, by=by)
    acceptance.assign_proven(reading.attempt, remote_id)
    batch.refresh_from_db(using=MessageBatch.objects.primary().db)
    return batch


def _why_not(reading: Reading, *, is_ended: bool) -> str:
    if reading.attempt is not None:
        return "it bears the tag of another batch's attempt."
    if reading.is_foreign or reading.digest:
        return "its first results bear no tag of ours: another call made it."
    return f"{reading.why}. {'Try again later.' if is_ended else 'Try again when it has ended.'}"
