"""Taking over a batch that Anthropic has: one made elsewhere, or one of ours whose answer was lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.db import transaction

from django_claude_batches import wire
from django_claude_batches.client import BatchesClient, Line
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.models import BatchResult, MessageBatch, Outcome, SubmitAttempt
from django_claude_batches.models.event import user_name
from django_claude_batches.models.mirror import COUNTS
from django_claude_batches.models.state import ADOPTING, State
from django_claude_batches.services import settling
from django_claude_batches.services.connection import connect, outside_transactions
from django_claude_batches.services.delays import NOW
from django_claude_batches.services.lines import parse
from django_claude_batches.services.synchronization import mirrored

PROOF_LINES = 20
"""Well-formed lines to look at for a tag: every line of a batch of ours bears it."""


class NotOurs(ClaudeBatchesError):
    """The batch at Anthropic is not, or cannot yet be shown to be, the one that was asked for."""


def adopt(
    id: str,  # noqa: A002 (the API's word)
    *,
    for_batch: MessageBatch | None = None,
    account: str = "default",
    kind: str = "",
    label: str = "",
    by: Any = None,
) -> MessageBatch:
    """Mirror a batch that was made elsewhere, or claim one for an unconfirmed row of ours.

    Elsewhere: a new row, whose results are fetched like any other's; its requests cannot be read back. An id that a
    row already has gives that row. `for_batch`: the number of requests must be the same, and a line of its results
    must bear the tag of one of the batch's attempts, so it can be claimed only when it has ended; NotOurs says why
    not. Raise APIError or APIUnreachable for what Anthropic says, InvalidTransition if the row waits for nothing.
    """
    outside_transactions("adopt()")
    if for_batch is not None:
        return _claim(id, for_batch, by=by)
    rows = MessageBatch.objects.primary()
    if (known := rows.filter(anthropic_id=id).first()) is not None:
        return known
    data = connect(account).retrieve(id)
    ended = data["processing_status"] == "ended"
    state = State.ENDED if ended else State.CANCELING if data["processing_status"] == "canceling" else State.IN_PROGRESS
    with transaction.atomic(using=rows.db, durable=True):
        batch = rows.create(
            **mirrored(data),
            account=account,
            kind=kind,
            label=label,
            created_by=by,
            created_by_name=user_name(by),
            state=State.DRAFT,
            request_count=_total(data),
        )
        batch.move(state, allowed={State.DRAFT}, due=NOW, anthropic_id=id)
        batch.note("adopted", id, by=by)
    return batch


def _claim(remote_id: str, batch: MessageBatch, *, by: Any) -> MessageBatch:
    if batch.anthropic_id == remote_id:
        return batch
    if batch.state not in ADOPTING:
        raise batch.forbidden("adopt for", ADOPTING)
    owner = MessageBatch.objects.primary().filter(anthropic_id=remote_id).first()
    if owner is not None:
        raise NotOurs(f"{remote_id} is batch {owner} here. Delete that row first if it is really this batch.")
    client = connect(batch.account, anthropic_version=batch.anthropic_version)
    data = client.retrieve(remote_id)
    if _total(data) != batch.request_count:
        raise NotOurs(f"{remote_id} has {_total(data):,} requests, and batch {batch} has {batch.request_count:,}.")
    if data["processing_status"] != "ended":
        raise NotOurs(
            f"{remote_id} has as many requests as batch {batch}, but is still {data['processing_status']}: "
            "only its results can prove whose it is. Try again when it has ended."
        )
    attempt = _proven(client, remote_id, batch)
    SubmitAttempt.objects.primary().filter(pk=attempt.pk).update(remote_id=remote_id, outcome=Outcome.ACCEPTED)
    attempt.remote_id = remote_id
    batch.note("claimed", f"{remote_id} bears the tag of attempt {attempt.number}.", by=by)
    settling.accepted(batch, attempt)
    return batch


def _proven(client: BatchesClient, remote_id: str, batch: MessageBatch) -> SubmitAttempt:
    attempts = {attempt.tag: attempt for attempt in batch.attempts.using(MessageBatch.objects.primary().db)}
    with client.result_lines(remote_id) as lines:
        for custom_id in islice(_custom_ids(lines), PROOF_LINES):
            if (attempt := attempts.get(custom_id.partition("_")[0])) is not None:
                return attempt
    raise NotOurs(
        f"None of the first results of {remote_id} bears a tag of batch {batch}: it was made by another call."
    )


def _custom_ids(lines: Iterable[Line]) -> Iterator[str]:
    for line in lines:
        row = parse(line)
        if isinstance(row, BatchResult):
            yield row.custom_id


def _total(data: wire.MessageBatch) -> int:
    counts = mirrored(data)
    return sum(counts[f"{name}_count"] for name in COUNTS)
