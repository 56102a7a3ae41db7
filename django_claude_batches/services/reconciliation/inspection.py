"""Look at each candidate: is it still at Anthropic, and whose is it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from django_claude_batches.client import BatchesClient
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.exceptions import ClaudeBatchesError, NotFoundError, result_or_error
from django_claude_batches.models import AccountState, MessageBatch, RemoteBatch, SubmitAttempt
from django_claude_batches.models.batch_state import State
from django_claude_batches.services.listings.candidates import record_sighting, store_anchor
from django_claude_batches.services.listings.search import Anchor, Listing
from django_claude_batches.services.listings.windows import unowned
from django_claude_batches.services.reconciliation.proof import read, read_rows
from django_claude_batches.services.submission import acceptance

# Batches that are retrieved, and whose results are read, in one round.
MAX_PER_ROUND = 50

# For one round, well below a lease.
BUDGET = timedelta(seconds=60)

# Between two reads of a short body that must be equal.
REREAD_AFTER = timedelta(minutes=10)


def examine(client: BatchesClient, rows: list[RemoteBatch], listing: Listing, likely: Iterable[int] = ()) -> None:
    """Retrieve those that were not listed, and read those that have ended, matching request counts first.

    A batch whose tag is found is assigned to its attempt, and the others are marked; rows that stay open say why. One
    that was adopted and is complete is evaluated by its rows.
    """
    give_up_at = time.monotonic() + BUDGET.total_seconds()
    counts = set(likely)
    absent = [row for row in rows if row.remote_id not in listing.ids]
    there = {row.pk for row in rows if row.remote_id in listing.ids}
    for row in sorted(absent, key=_asked_timestamp)[:MAX_PER_ROUND]:
        if time.monotonic() < give_up_at and retrieve_candidate(client, row, listing.workspace_id):
            there.add(row.pk)
    now = AccountState.objects.primary().clock()
    ids = [row.remote_id for row in rows]
    complete = MessageBatch.objects.primary().filter(anthropic_id__in=ids, state=State.INGESTED, missing_count=0)
    here = {str(batch.anthropic_id): batch for batch in complete} if ids else {}
    ended = [row for row in rows if row.remote_id in here or (row.pk in there and _is_to_be_read(row, now))]
    ended.sort(key=lambda row: (_asked_timestamp(row), row.requests not in counts))
    for row in ended[:MAX_PER_ROUND]:
        if time.monotonic() < give_up_at:
            inspect_results(client, row, here.get(row.remote_id), now)


def _asked_timestamp(row: RemoteBatch) -> float:
    return row.asked_at.timestamp() if row.asked_at else 0.0


def retrieve_candidate(client: BatchesClient, row: RemoteBatch, workspace_id: str) -> bool:
    """Retrieve a candidate; return whether it exists. A 404 counts only in the named Workspace that listed it."""
    answer = result_or_error(lambda: client.retrieve(row.remote_id))
    rows = RemoteBatch.objects.primary().filter(pk=row.pk)
    rows.update(asked_at=DatabaseNow())
    if not isinstance(answer, ClaudeBatchesError):
        record_sighting(row, answer, workspace_id=workspace_id)
        return True
    row.why = f"it is not listed, and was not found: {answer}"
    if isinstance(answer, NotFoundError) and workspace_id and row.workspace_id == workspace_id:
        RemoteBatch.objects.count_miss(row.pk, row.why)
        row.refresh_from_db(using=rows.db)
    else:
        rows.update(why=row.why)
    return False


def retrieve_anchors(
    client: BatchesClient, alias: str, anchors: Mapping[Anchor, SubmitAttempt], workspace_id: str
) -> None:
    """Retrieve what existed before a call and is not listed: it may be gone, or the listing is stale."""
    give_up_at = time.monotonic() + BUDGET.total_seconds()
    for (id_, at), attempt in list(anchors.items())[:MAX_PER_ROUND]:
        if time.monotonic() > give_up_at:
            return
        retrieve_candidate(client, store_anchor(alias, attempt, id_, at), workspace_id)


def _is_to_be_read(row: RemoteBatch, now: datetime) -> bool:
    return row.status == "ended" and (row.digest_at is None or now - row.digest_at >= REREAD_AFTER)


def inspect_results(client: BatchesClient, row: RemoteBatch, adopted: MessageBatch | None, now: datetime) -> None:
    """Read a candidate's results, from its rows if it was adopted, and record the findings."""
    reading = read(client, row.remote_id) if adopted is None else read_rows(adopted)
    if reading.attempt is not None:
        acceptance.assign_proven(reading.attempt, row.remote_id)
        if unowned([row.remote_id]):  # that attempt already has a batch: this is a duplicate, and no other attempt's
            RemoteBatch.objects.primary().filter(pk=row.pk).update(is_foreign=True, why="")
        return
    is_as_before = bool(reading.digest) and reading.digest == row.digest
    row.is_foreign = reading.is_foreign or is_as_before
    row.why = "" if row.is_foreign else reading.why
    changes: dict[str, object] = {"is_foreign": row.is_foreign, "why": row.why, "lines_read": reading.lines}
    if reading.digest and not is_as_before:  # a failed read says nothing about earlier ones
        changes |= {"digest": reading.digest, "digest_at": now}
    RemoteBatch.objects.primary().filter(pk=row.pk).update(**changes, asked_at=DatabaseNow())
