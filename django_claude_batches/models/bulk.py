"""How many rows reach a table and are read back, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.db import DataError, IntegrityError, models, transaction

from django_claude_batches.exceptions import LimitExceeded
from django_claude_batches.models import packets
from django_claude_batches.models.request import BatchRequest
from django_claude_batches.models.result import BatchResult

ROWS = 1000
"""Rows at a time: lists of 5,000 cost 70 MB more and are no faster (docs/performance.md)."""

PACKET_BYTES = 4_000_000
"""Bytes to write at a time. MariaDB takes 16 MB in a statement (`max_allowed_packet`), in which quotes and backslashes
are doubled and a JSON column's other characters are escapes: one of 4 bytes takes 14."""

BYTES = 8_000_000
"""Bytes of params at a time, so that large requests are read a few at a time."""


def insert(rows: Iterable[BatchRequest], *, using: str) -> Iterator[int]:
    """Insert the rows as they come, at most 1,000 or 4 MB at a time, and give the number stored so far after each.

    Raise LimitExceeded for a row that is too large for the database.
    """
    stored = 0
    for chunk in _packets(rows):
        if len(chunk) == 1 and (reason := packets.obstacle(chunk[0].params_text, using=using)):
            raise LimitExceeded(reason, position=chunk[0].position, custom_id=chunk[0].custom_id)
        BatchRequest.objects.using(using).bulk_create(chunk)
        stored += len(chunk)
        yield stored


def _packets(rows: Iterable[BatchRequest]) -> Iterator[list[BatchRequest]]:
    chunk: list[BatchRequest] = []
    size = 0
    for row in rows:
        if chunk and (len(chunk) == ROWS or size + row.params_bytes > PACKET_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += row.params_bytes
    if chunk:
        yield chunk


def insert_results(rows: list[BatchResult], *, using: str) -> list[tuple[BatchResult, str]]:
    """Insert those of a batch's results that are not stored yet; give back those that the database refused, and why.

    What is stored is never changed by a second line. `ignore_conflicts` is not used: on MySQL it is INSERT IGNORE,
    which also cuts long values short in silence. A row of more than PACKET_BYTES must come alone.
    """
    if not rows:
        return []
    if len(rows) == 1 and (reason := packets.obstacle(rows[0].message, rows[0].raw, using=using)):
        return [(rows[0], reason)]
    table = BatchResult.objects.using(using)
    ids = [row.custom_id for row in rows]
    stored = set(table.filter(batch=rows[0].batch_id, custom_id__in=ids).values_list("custom_id", flat=True))
    new = [row for row in rows if row.custom_id not in stored]
    try:
        with transaction.atomic(using=using):
            table.bulk_create(new, batch_size=ROWS)
    except (DataError, IntegrityError, ValueError):
        return _insert_one_by_one(new, using=using)
    return []


def _insert_one_by_one(rows: list[BatchResult], *, using: str) -> list[tuple[BatchResult, str]]:
    refused = []
    for row in rows:
        try:
            with transaction.atomic(using=using):
                BatchResult.objects.using(using).bulk_create([row])
        except (DataError, IntegrityError, ValueError) as error:
            refused.append((row, str(error)))
    return refused


def in_order(requests: models.QuerySet[BatchRequest]) -> Iterator[BatchRequest]:
    """Give requests of one batch by position, at most 1,000 rows or 8 MB of params in memory.

    By keyset: `.iterator()` is not constant memory on every driver, and not at all without a transaction.
    """
    requests = requests.order_by("position")
    last = -1
    while sizes := list(requests.filter(position__gt=last).values_list("position", "params_bytes")[:ROWS]):
        first, last = last, _last_that_fits(sizes)
        yield from requests.filter(position__gt=first, position__lte=last)


def _last_that_fits(sizes: list[tuple[int, int]]) -> int:
    total = 0
    fitting = sizes[0][0]
    for position, size in sizes:
        total += size
        if total > BYTES:
            break
        fitting = position
    return fitting


def delete_rows(child: type[models.Model], batch_id: int, *, using: str) -> int:
    """Delete a batch's rows of one table, a thousand at a time, and give their number."""
    rows = child._default_manager.using(using).filter(batch=batch_id).order_by("pk")
    deleted = 0
    while pks := list(rows.values_list("pk", flat=True)[:ROWS]):
        deleted += child._default_manager.using(using).filter(pk__in=pks)._raw_delete(using)
    return deleted
