"""Audit findings about batches that exist both here and at Anthropic, and whose state or counts differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Count, Q
from django.utils import timezone

from django_claude_batches import wire
from django_claude_batches.db.keyset import chunked
from django_claude_batches.db.leases import now_plus
from django_claude_batches.error_text import public_part
from django_claude_batches.models import BatchEvent, BatchResult, MessageBatch
from django_claude_batches.models.batch.columns import COUNTS
from django_claude_batches.models.batch.queryset import NEARS_ARCHIVING
from django_claude_batches.models.batch_state import FETCHING, RUNNING, State
from django_claude_batches.services.audits.findings import Finding, FindingKind, finding_for
from django_claude_batches.services.mirror import mirror_columns, request_total
from django_claude_batches.services.polling.loss import RESULTS_LAST

# How long a listing may show an earlier state.
MAX_LISTING_LAG = timedelta(hours=1)

# A requested deletion waits for the batch to end, which takes at most 24 hours, and for its results.
MAX_DELETION_TIME = timedelta(hours=25)

# Batches whose stored results are counted in one query.
BATCHES_PER_QUERY = 100

Pairs = list[tuple[MessageBatch, wire.MessageBatch]]


def about_to_archive(alias: str) -> Iterator[Finding]:
    """Yield batches whose results are not all stored and can soon no longer be fetched. Uses only the database."""
    rows = MessageBatch.objects.primary().filter(account=alias, remote_deleted_at__isnull=True)
    near = rows.filter(created_at__lt=now_plus(-NEARS_ARCHIVING), created_at__gte=now_plus(-RESULTS_LAST))
    blemished = Q(state=State.INGESTED, missing_count__gt=0)
    for row in list(near.filter(Q(state__in=RUNNING | FETCHING) | blemished).order_by("pk")):
        until = f"{row.created_at + RESULTS_LAST:%Y-%m-%d %H:%M} UTC" if row.created_at else ""
        if row.state == State.INGESTED:
            what = f"{row.missing_count:,} of its results are missing"
            remedy = "Its problem lines say why, where some came; `services.retry` drafts what is missing anew."
        else:
            what = "its results are not all rows"
            remedy = f"Fix what its last error says ({_last_error(row)}), then Check now."
        words = f"{row.anthropic_id}: {what}, and they can be fetched until {until} only."
        yield finding_for(row, FindingKind.ABOUT_TO_ARCHIVE, words, remedy)


def _last_error(row: MessageBatch) -> str:
    """Return the batch's last error without its message, which may quote an answer: the account's row stores it."""
    return public_part(row.last_error) or "none"


def still_there(pairs: Pairs) -> Iterator[Finding]:
    """Yield batches that are listed although their deletion at Anthropic was requested."""
    failed = BatchEvent.objects.primary().filter(batch__in=[row.pk for row, _ in pairs], what="delete_failed")
    refused = dict(failed.order_by("pk").values_list("batch_id", "text"))
    now = timezone.now()
    for row, _data in pairs:
        if row.remote_deleted_at is not None:
            if row.remote_deleted_at < now - MAX_LISTING_LAG:
                words = f"{row.anthropic_id} was deleted at Anthropic, which lists it all the same."
                remedy = "Look in Anthropic's Console, and delete it there."
                yield finding_for(row, FindingKind.STILL_THERE, words, remedy)
        elif row.delete_requested_at is not None:
            if row.delete_requested_at < now - MAX_DELETION_TIME:
                words = f"{row.anthropic_id} was to be deleted at Anthropic more than a day ago, and is still there."
                remedy = f"Fix what its last error says ({_last_error(row)}), then Check now."
                yield finding_for(row, FindingKind.STILL_THERE, words, remedy)
        elif row.pk in refused:
            words = f"{row.anthropic_id} was to be deleted at Anthropic; that failed, and it is still there."
            remedy = f"Fix what was answered ({refused[row.pk]}), then `claude_batches delete-remote {row.pk}`."
            yield finding_for(row, FindingKind.STILL_THERE, words, remedy)


def counts_differ(pairs: Pairs) -> Iterator[Finding]:
    """Compare final batches: each outcome, the number of requests, and the results that are stored.

    The number of stored results must match only if none are known to be missing.
    """
    final = [(row, data) for row, data in pairs if row.state in {State.INGESTED, State.LOST} and not _lags(row, data)]
    stored = _stored_counts([row.pk for row, _ in final if row.state == State.INGESTED and not row.missing_count])
    for row, data in final:
        wrong = [*_count_differences(row, data)]
        if row.pk in stored:
            wrong += _stored_differences(stored[row.pk], data)
        if wrong:
            words = f"{row.anthropic_id} is final here ({State(row.state).label}), and differs: {'; '.join(wrong)}."
            remedy = (
                "Were rows deleted or changed here, or was a backup played back? Look at its timeline; results that "
                "are not rows can be had anew with a retry, which is billed."
            )
            yield finding_for(row, FindingKind.COUNTS_DIFFER, words, remedy)


def _lags(row: MessageBatch, data: wire.MessageBatch) -> bool:
    """Return whether the page is older than the row: the batch ended and was fetched after the page was received."""
    lately = timezone.now() - MAX_LISTING_LAG
    return data["processing_status"] != "ended" and row.ingested_at is not None and row.ingested_at > lately


def _count_differences(row: MessageBatch, data: wire.MessageBatch) -> Iterator[str]:
    counts = mirror_columns(data)
    for name in COUNTS:
        there, here = counts[f"{name}_count"], getattr(row, f"{name}_count")
        if there != here:
            yield f"{there:,} {name} at Anthropic, {here:,} in the row"
    if request_total(data) != row.request_count:
        yield f"{request_total(data):,} requests at Anthropic, {row.request_count:,} in the row"


def _stored_counts(pks: list[int]) -> dict[int, Counter[str]]:
    """Count the stored results of some batches by type, from an index."""
    found: dict[int, Counter[str]] = {pk: Counter() for pk in pks}
    for chunk in chunked(pks, BATCHES_PER_QUERY):
        results = BatchResult.objects.primary().filter(batch__in=chunk).order_by()
        for pk, kind, count in results.values_list("batch_id", "result_type").annotate(n=Count("pk")):
            found[pk][kind] = count
    return found


def _stored_differences(stored: Counter[str], data: wire.MessageBatch) -> Iterator[str]:
    counts = mirror_columns(data)
    there = Counter({name: counts[f"{name}_count"] for name in COUNTS if name != "processing"})
    for name in sorted({*stored, *there}):
        if stored[name] != there[name]:
            yield f"{there[name]:,} {name} at Anthropic, {stored[name]:,} stored"
