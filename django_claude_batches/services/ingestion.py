"""Fetching a finished batch's results: a stream of lines into rows, chunk by chunk, until the ledger balances."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db import transaction

from django_claude_batches import conf
from django_claude_batches.client import BatchesClient, Line
from django_claude_batches.exceptions import ClaudeBatchesError, RemoteNotFound, ResultsUnavailable
from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch, ResultProblem, UsageRollup, bulk
from django_claude_batches.models.lease import DatabaseNow
from django_claude_batches.models.state import FETCHING, State
from django_claude_batches.services.delays import NOW, backoff, respecting
from django_claude_batches.services.lines import parse, problem
from django_claude_batches.services.mirroring import mirrored
from django_claude_batches.services.vanishing import is_past_keeping, lose, missed

logger = logging.getLogger(__name__)

CHUNK_ROWS = 2000
CHUNK_BYTES = bulk.PACKET_BYTES
CHUNK_SECONDS = 60.0
"""Well below the lease, which each chunk renews: lines that trickle in must be stored before it is over."""


class LeaseLost(ClaudeBatchesError):
    """Another process has the batch now: what we have not stored, it will."""


@dataclass(slots=True)
class Chunk:
    """What one transaction stores; filled before it opens."""

    rows: list[BatchResult] = field(default_factory=list)
    problems: list[ResultProblem] = field(default_factory=list)
    size: int = 0
    begun: float = field(default_factory=lambda: time.monotonic())  # noqa: PLW0108 (the clock of the day, not of import)

    @property
    def is_full(self) -> bool:
        many = len(self.rows) + len(self.problems) >= CHUNK_ROWS or self.size >= CHUNK_BYTES
        return many or time.monotonic() - self.begun >= CHUNK_SECONDS


@dataclass(slots=True)
class Download:
    """One reading of a batch's results: which ids came, and how often each outcome."""

    seen: set[str] = field(default_factory=set)
    types: Counter[str] = field(default_factory=Counter)


def ingest(batch: MessageBatch, token: str, client: BatchesClient) -> bool:
    """Fetch the results and store those that are not rows yet; give whether the batch is complete by it.

    Always safe to do again: nothing stored is changed. A connection that breaks is tried again for as long as it
    takes; a download that came whole and does not balance, INGEST_ATTEMPTS times.
    """
    download = Download()
    failure: ClaudeBatchesError | None = None
    try:
        for chunk in _chunks(batch, client, download):
            _store(batch, token, chunk)
    except LeaseLost:
        logger.warning("Batch %s is fetched by another process now.", batch.pk)
        return False
    except ClaudeBatchesError as error:
        failure = error
    if isinstance(failure, ResultsUnavailable):
        return _unavailable(batch, token, client, failure)
    if failure is not None:
        batch.put_off(respecting(failure, backoff(batch.failures)), token=token, error=str(failure))
        return False
    return _close(batch, token, download)


def _chunks(batch: MessageBatch, client: BatchesClient, download: Download) -> Iterator[Chunk]:
    """Give what came, also when the connection breaks: the lines before are whole."""
    tags = _tags(batch)
    chunk = Chunk()
    failure: ClaudeBatchesError | None = None
    with client.result_lines(str(batch.anthropic_id)) as lines:
        try:
            for line in lines:
                _sort_in(line, chunk, download, tags)
                if chunk.is_full:
                    yield chunk
                    chunk = Chunk()
        except ClaudeBatchesError as error:
            failure = error
    yield chunk
    if failure is not None:
        raise failure


def _sort_in(line: Line, chunk: Chunk, download: Download, tags: frozenset[str]) -> None:
    row = parse(line)
    if isinstance(row, BatchResult) and tags:
        tag, _, custom_id = row.custom_id.partition("_")
        row = row if tag in tags else problem(line, "The line answers no request of ours: its custom_id lacks the tag.")
        if isinstance(row, BatchResult):
            row.custom_id = custom_id
    if isinstance(row, BatchResult) and row.custom_id in download.seen:
        row = problem(line, f"custom_id {row.custom_id} came before in this download: the first line counts.")
    chunk.size += len(line.data)
    if isinstance(row, ResultProblem):
        chunk.problems.append(row)
        return
    download.seen.add(row.custom_id)
    download.types[row.result_type] += 1
    chunk.size += len(row.raw or b"")
    chunk.rows.append(row)


def _tags(batch: MessageBatch) -> frozenset[str]:
    """Give the tags that our lines may bear; none for a batch that was made elsewhere: its ids are kept as they are."""
    own = batch.attempts.using(MessageBatch.objects.primary().db).filter(remote_id=batch.anthropic_id)
    return frozenset(own.values_list("tag", flat=True))


def _store(batch: MessageBatch, token: str, chunk: Chunk) -> None:
    rows = MessageBatch.objects.primary()
    _point_to_requests(batch, chunk, using=rows.db)
    with transaction.atomic(using=rows.db, durable=True):
        # Heartbeat, fence and row lock in one statement: a late process stores nothing.
        if not rows.renew(batch.pk, token):
            raise LeaseLost(f"The lease on batch {batch.pk} is lost.")
        for row, why in bulk.insert_results(chunk.rows, using=rows.db):
            logger.error("Batch %s: the database refused the result of %s: %s", batch.pk, row.custom_id, why)
            chunk.problems.append(_refused(row, why))
        for trouble in chunk.problems:
            known = {"batch": batch, "sha256": trouble.sha256}
            shown = {name: getattr(trouble, name) for name in ("number", "offset", "excerpt", "reason")}
            ResultProblem.objects.using(rows.db).get_or_create(**known, defaults=shown)


def _point_to_requests(batch: MessageBatch, chunk: Chunk, *, using: str) -> None:
    ids = [row.custom_id for row in chunk.rows]
    requests = BatchRequest.objects.using(using).filter(batch=batch, custom_id__in=ids)
    known = dict(requests.values_list("custom_id", "pk"))
    for row in chunk.rows:
        row.batch, row.request_id = batch, known.get(row.custom_id)


def _refused(row: BatchResult, why: str) -> ResultProblem:
    data = row.raw or f"{row.custom_id}: {row.message or row.error_message}".encode()
    line = Line(number=0, offset=0, data=bytes(data), oversized=False)
    return problem(line, f"The database refused the row of {row.custom_id}: {why}")


def _unavailable(batch: MessageBatch, token: str, client: BatchesClient, failure: ResultsUnavailable) -> bool:
    """Look at the batch itself: a 404 on its results may pass, unless they were archived or it is gone."""
    data = gone = None
    try:
        data = client.retrieve(str(batch.anthropic_id))
    except RemoteNotFound as error:
        gone = missed(batch, client, str(error))
    except ClaudeBatchesError as error:
        logger.warning("Batch %s: %s", batch.pk, error)
    if data is not None and (data["archived_at"] is not None or is_past_keeping(batch)):
        batch.put_off(NOW, token=token, **mirrored(data))
        gone = lose(batch, f"Its results were archived at Anthropic. {failure}")
    if gone:
        return batch.delete_requested_at is not None
    batch.put_off(backoff(batch.failures), token=token, error=str(failure))
    return False


def _close(batch: MessageBatch, token: str, download: Download) -> bool:
    """Compare what came with what must have come. Incomplete: again, with back-off; complete after the last try."""
    imbalance = _imbalance(batch, download)
    last_try = batch.tries + 1 >= conf.ingest_attempts()
    if imbalance and not last_try:
        tries = batch.tries + 1
        batch.move(
            State.INCOMPLETE,
            allowed=FETCHING,
            token=token,
            due=backoff(tries),
            last_error=imbalance,
            missing_count=batch.count_missing(),
            tries=tries,
        )
        return False
    with transaction.atomic(using=MessageBatch.objects.primary().db, durable=True):
        complete = batch.move(
            State.INGESTED,
            allowed=FETCHING,
            token=token,
            due=NOW,
            ingested_at=DatabaseNow(),
            missing_count=batch.count_missing(),
            last_error=imbalance,
        )
        if complete:
            UsageRollup.objects.primary().sum_up(batch.pk)
            batch.note("ingested", imbalance or f"{len(download.seen):,} results")
    return complete


def _imbalance(batch: MessageBatch, download: Download) -> str:
    """Say what does not add up; nothing if all does."""
    counts = {
        "succeeded": batch.succeeded_count,
        "errored": batch.errored_count,
        "canceled": batch.canceled_count,
        "expired": batch.expired_count,
    }
    wrong = [
        f"{download.types[name]:,} lines {name} where Anthropic counted {count:,}"
        for name, count in counts.items()
        if download.types[name] != count
    ]
    if len(download.seen) != batch.request_count:
        wrong.insert(0, f"{len(download.seen):,} results came for {batch.request_count:,} requests")
    if not wrong and (missing := batch.count_missing()):
        wrong = [f"{missing:,} results could not be stored"]
    return "; ".join(wrong)
