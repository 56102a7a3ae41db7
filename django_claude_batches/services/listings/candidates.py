"""Candidates: listed batches that may be an unconfirmed one. They are stored until it is known which call made them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q

from django_claude_batches import wire
from django_claude_batches.db.keyset import chunked
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.models import MessageBatch, OpenListing, Outcome, RemoteBatch, SubmitAttempt
from django_claude_batches.models.attempt import SubmitAttemptQuerySet
from django_claude_batches.models.batch_state import State
from django_claude_batches.services.listings.search import Listing
from django_claude_batches.services.listings.windows import Window, made_at, unowned
from django_claude_batches.services.mirror import mirror_columns, request_total

# Ids in one query.
IDS_PER_QUERY = 500

NO_RETRY = Q(outcome__in=[Outcome.NOT_RECEIVED, Outcome.UNDECIDED]) | Q(
    outcome=Outcome.UNCERTAIN, batch__state=State.ABANDONED
)


def watched_attempts(alias: str) -> SubmitAttemptQuerySet:
    """Return attempts whose batch counts as not received, is unknown or was abandoned, and may still appear."""
    return _attempts_that_may_appear(alias).filter(NO_RETRY)


def unmatched_attempts(alias: str) -> SubmitAttemptQuerySet:
    """Match attempts that may have made a batch whose id is unknown, including those being searched for."""
    open_ones = Q(outcome__in=[Outcome.OPEN, Outcome.UNCERTAIN], sent_at__isnull=False)
    return _attempts_that_may_appear(alias).filter(NO_RETRY | open_ones).select_related("batch")


def _attempts_that_may_appear(alias: str) -> SubmitAttemptQuerySet:
    attempts = SubmitAttempt.objects.primary().filter(batch__account=alias, remote_id__isnull=True)
    waiting = Q(watch_until__gt=DatabaseNow()) | Q(batch__state=State.UNCERTAIN)
    return attempts.filter(waiting)


def remember_listed(alias: str, listing: Listing, windows: list[Window]) -> None:
    """Store the listed batches that one of these attempts may have made, and when they were seen."""
    maybe = {
        data["id"]: data
        for data, at in zip(listing.batches, listing.times, strict=True)
        if any(window.may_have_made(data["id"], at) for window in windows)
    }
    for ids in chunked(sorted(unowned(maybe)) if maybe else [], IDS_PER_QUERY):
        known = {row.remote_id: row for row in RemoteBatch.objects.of(alias).filter(remote_id__in=ids)}
        new = [maybe[id_] for id_ in ids if id_ not in known]
        if new:
            _add(alias, new, listing.workspace_id, windows)
        for id_, row in known.items():
            record_sighting(row, maybe[id_], workspace_id=listing.workspace_id)
    _reset_misses(alias, listing)


def remember_page(alias: str, batches: list[wire.MessageBatch], workspace_id: str | None) -> None:
    """Store what another listing shows of possible unconfirmed batches: the next search may lack them."""
    windows = [Window.of(attempt) for attempt in SubmitAttempt.objects.primary().sent_and_unresolved(alias)]
    if windows:
        remember_listed(alias, Listing(batches, workspace_id or "", is_end=False), windows)


def remember_adopted(alias: str, windows: list[Window]) -> None:
    """Store adopted batches that one of these attempts may have made: they may no longer be at Anthropic."""
    rows = MessageBatch.objects.primary()
    since = [window.since for window in windows if window.since is not None]
    until = [window.until for window in windows if window.until is not None]
    submitted = SubmitAttempt.objects.using(rows.db).filter(remote_id=OuterRef("anthropic_id"))
    known = RemoteBatch.objects.of(alias).filter(remote_id=OuterRef("anthropic_id"))
    adopted = rows.filter(~Exists(submitted), ~Exists(known), anthropic_id__isnull=False)
    if len(since) == len(windows):
        adopted = adopted.filter(Q(created_at__isnull=True) | Q(created_at__gte=min(since)))
    if len(until) == len(windows):
        adopted = adopted.filter(Q(created_at__isnull=True) | Q(created_at__lte=max(until)))
    for batch in adopted.only("anthropic_id", "created_at", "request_count", "workspace_id", "processing_status"):
        if any(window.may_have_made(str(batch.anthropic_id), batch.created_at) for window in windows):
            _get_or_create(
                RemoteBatch(
                    account=alias,
                    remote_id=batch.anthropic_id,
                    workspace_id=batch.workspace_id,
                    created_at=batch.created_at,
                    requests=batch.request_count,
                    status="ended" if batch.processing_status == "ended" else "in_progress",
                    first_seen_at=DatabaseNow(),
                )
            )


def _reset_misses(alias: str, listing: Listing) -> None:
    missed = RemoteBatch.objects.of(alias).filter(misses__gt=0)
    pks = [pk for pk, id_ in missed.values_list("pk", "remote_id") if id_ in listing.ids]
    if pks:
        missed.filter(pk__in=pks).update(misses=0, missed_at=None)


def _add(alias: str, batches: list[wire.MessageBatch], workspace_id: str, windows: list[Window]) -> None:
    rows = [_row(alias, data, workspace_id) for data in batches]
    try:
        with transaction.atomic(using=RemoteBatch.objects.primary().db):
            RemoteBatch.objects.primary().bulk_create(rows, batch_size=IDS_PER_QUERY)
            _reset_listing_counts(windows, batches)
    except IntegrityError:  # another process has just stored some of them
        for row in rows:
            _get_or_create(row)
        _reset_listing_counts(windows, batches)


def _reset_listing_counts(windows: list[Window], new: list[wire.MessageBatch]) -> None:
    """Reset the listing counts of attempts that may have made one of these: a search may be evaluating them."""
    attempts = [window.attempt.pk for window in windows if any(window.may_have_made(d["id"], made_at(d)) for d in new)]
    if attempts:
        SubmitAttempt.objects.primary().filter(pk__in=attempts).reset_listing_count()


def store_anchor(alias: str, attempt: SubmitAttempt, remote_id: str, created_at: datetime | None) -> RemoteBatch:
    """Store a batch that existed before a call, so that it can be counted how often it is not found."""
    row = RemoteBatch(account=alias, remote_id=remote_id, workspace_id=attempt.workspace_id, created_at=created_at)
    row.first_seen_at = DatabaseNow()
    return _get_or_create(row)


def _get_or_create(row: RemoteBatch) -> RemoteBatch:
    names = ("workspace_id", "created_at", "requests", "status", "first_seen_at", "why")
    values = {name: getattr(row, name) for name in names}
    rows = RemoteBatch.objects.primary()
    return rows.get_or_create(account=row.account, remote_id=row.remote_id, defaults=values)[0]


def _row(alias: str, data: wire.MessageBatch, workspace_id: str) -> RemoteBatch:
    return RemoteBatch(
        account=alias,
        remote_id=data["id"],
        workspace_id=workspace_id[:100],
        created_at=made_at(data),
        requests=request_total(data),
        status=_status(data),
        first_seen_at=DatabaseNow(),
        why=_why(data),
    )


def record_sighting(row: RemoteBatch, data: wire.MessageBatch, *, workspace_id: str) -> None:
    """Record that the batch exists, and also when it was created and whether it has ended."""
    known: dict[str, object] = {"misses": 0, "requests": request_total(data)}
    if row.status != "ended":
        known |= {"status": _status(data), "why": _why(data)}
    if not row.workspace_id:
        known["workspace_id"] = workspace_id[:100]
    changes = {name: value for name, value in known.items() if getattr(row, name) != value}
    if "misses" in changes:
        changes["missed_at"] = None
    if changes:
        RemoteBatch.objects.primary().filter(pk=row.pk).update(**changes)
    for name, value in changes.items():
        setattr(row, name, value)


def _status(data: wire.MessageBatch) -> str:
    status = mirror_columns(data)["processing_status"]
    return status if status in {"in_progress", "canceling", "ended"} else "unknown"


def _why(data: wire.MessageBatch) -> str:
    status = _status(data)
    return "" if status == "ended" else f"it is {status}: only its results can prove whose it is"


def open_candidates(alias: str, windows: Iterable[Window]) -> list[RemoteBatch]:
    """Return the remote batches that one of these attempts may have made and whose owner is not known."""
    windows = list(windows)
    rows = list(RemoteBatch.objects.of(alias).filter(is_foreign=False).order_by("created_at", "pk"))
    maybe = [row for row in rows if any(window.may_have_made(row.remote_id, row.created_at) for window in windows)]
    free = unowned(row.remote_id for row in maybe) if maybe else set()
    return [row for row in maybe if row.remote_id in free]


def foreign_ids(attempt: SubmitAttempt) -> list[str]:
    """Return the ids of batches that another call made within the attempt's window."""
    alias = attempt.batch.account if attempt.batch is not None else ""
    window = Window.of(attempt)
    rows = RemoteBatch.objects.of(alias).filter(is_foreign=True).order_by("created_at", "pk")
    return [row.remote_id for row in rows if window.may_have_made(row.remote_id, row.created_at)]


def gone_ids(alias: str) -> frozenset[str]:
    """Return the ids of listed batches that are no longer at Anthropic."""
    rows = RemoteBatch.objects.of(alias).filter(misses__gt=0)
    return frozenset(row.remote_id for row in rows if row.is_gone)


def delete_candidates(alias: str) -> int:
    """Delete an account's candidates when no search or watch needs them."""
    if unmatched_attempts(alias).exists():
        return 0
    OpenListing.objects.primary().filter(account=alias).delete()
    return RemoteBatch.objects.of(alias).delete()[0]


def is_candidate(alias: str, data: wire.MessageBatch, windows: Iterable[Window]) -> bool:
    """Return whether a batch that is listed may be what one of these attempts made."""
    at = made_at(data)
    if not any(window.may_have_made(data["id"], at) for window in windows):
        return False
    foreign = RemoteBatch.objects.of(alias).filter(remote_id=data["id"], is_foreign=True)
    return not foreign.exists() and bool(unowned([data["id"]]))
