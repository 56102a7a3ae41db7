"""Queue a batch. A worker sends it (`send`)."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from django_claude_batches import conf
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.models import MessageBatch
from django_claude_batches.models.batch.batch import NO_INTENT
from django_claude_batches.models.batch_state import EDITABLE, NOT_BEING_IDENTIFIED, State
from django_claude_batches.services.backoff import NO_DELAY


def submit(batch: MessageBatch, *, allow_duplicate: bool = False, by: Any = None) -> MessageBatch:
    """Queue the batch; a worker sends it. No HTTP: inside your transaction, the row is the outbox.

    Raise InvalidTransition unless it is a draft, was refused or was not received, and while an identification is being
    verified. One that may have been billed already (`may_have_been_billed`) requires `allow_duplicate`: a person
    accepts that it may be paid for twice. Repeating it on a queued batch does nothing; an account that the settings do
    not have raises ConfigurationError.
    """
    conf.account(batch.account)
    ready = Q(is_filling=False) & NOT_BEING_IDENTIFIED
    if not allow_duplicate:
        ready &= Q(may_have_been_billed=False)
    queued: dict[str, Any] = {"queued_at": DatabaseNow(), "last_error": "", **NO_INTENT}
    if batch.move(State.QUEUED, allowed=EDITABLE, where=ready, due=NO_DELAY, **queued):
        said = "although it may have been billed before" if batch.may_have_been_billed else ""
        batch.log_event("submitted", said, by=by)
    elif batch.is_filling:
        raise batch.forbidden("submit", EDITABLE, "its run still adds requests to it.")
    elif batch.is_being_identified:
        raise batch.forbidden("submit", EDITABLE, f"a worker verifies that it is {batch.identified_id}: wait for that.")
    elif batch.state in EDITABLE and batch.may_have_been_billed:
        raise batch.forbidden("submit", EDITABLE, "it may have been billed already: submit it with allow_duplicate.")
    elif batch.state != State.QUEUED:
        raise batch.forbidden("submit", EDITABLE)
    return batch
