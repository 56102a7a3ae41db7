"""Audit findings about batches that exist only at Anthropic, or only here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from django_claude_batches import conf, wire
from django_claude_batches.client import BatchesClient
from django_claude_batches.db.leases import now_plus
from django_claude_batches.exceptions import NotFoundError
from django_claude_batches.models import MessageBatch, SubmitAttempt
from django_claude_batches.models.batch_state import FETCHING, RUNNING, UNANSWERED, State
from django_claude_batches.services.audits.findings import AuditReport, Finding, FindingKind, finding_for
from django_claude_batches.services.listings.candidates import is_candidate, unmatched_attempts
from django_claude_batches.services.listings.listing import ListingPage
from django_claude_batches.services.listings.windows import Window
from django_claude_batches.services.mirror import moment, request_total
from django_claude_batches.services.polling.loss import RESULTS_LAST

# Younger batches are left for the next audit: a listing may lag behind a create call.
MIN_AGE = timedelta(hours=1)

# Batches that one audit retrieves one by one to verify that they are rightly missing from the listing.
MAX_SINGLE_RETRIEVES = 50


def unknown_here(alias: str, unknown: list[wire.MessageBatch], report: AuditReport) -> Iterator[Finding]:
    """Report remote batches that have no row.

    Left out are those that this database submitted and has deleted since, and those too old to fetch. In a SHARED
    account, batches without a row are counted and not listed: they are assumed to be others'.
    """
    if not unknown:
        return
    known = SubmitAttempt.objects.primary().filter(remote_id__in=[data["id"] for data in unknown])
    submitted = {attempt.remote_id: attempt for attempt in known.select_related("batch")}
    # Queried after the page was received, so that it includes what was sent since.
    open_ones = list(unmatched_attempts(alias))
    is_shared = conf.account(alias).is_shared
    too_old = timezone.now() - RESULTS_LAST
    for data in unknown:
        created_at = moment(data["created_at"])
        is_over = data["archived_at"] is not None or (created_at is not None and created_at < too_old)
        attempt = submitted.get(data["id"])
        if attempt is not None:
            yield from _duplicate_submission(alias, data, attempt)
        elif not is_over:
            finding = _unknown_batch(alias, data, open_ones)
            if is_shared and finding.needs_a_person:
                report.others += 1
            else:
                yield finding


def unknown_there(alias: str, page: ListingPage, client: BatchesClient, report: AuditReport) -> Iterator[Finding]:
    """Yield the rows that should be on this page of the listing and are not.

    The first of those that are not final are also retrieved one by one: the listing alone might be wrong.
    """
    rows = MessageBatch.objects.primary().filter(account=alias, remote_deleted_at__isnull=True)
    rows = rows.filter(state__in=RUNNING | FETCHING | {State.INGESTED}, created_at__lt=now_plus(-MIN_AGE))
    rows = rows.exclude(state=State.INGESTED, delete_requested_at__isnull=False)  # we are deleting it
    rows = rows if page.newer is None else rows.filter(created_at__lte=page.newer)
    rows = rows if page.older is None else rows.filter(created_at__gt=page.older)
    rows = rows.filter(workspace_id__in=["", page.workspace_id]) if page.workspace_id else rows
    placed_here = rows.order_by("pk").values_list("pk", "anthropic_id")
    absent = [pk for pk, id_ in placed_here if id_ not in page.batches and id_ not in page.before]
    for pk in absent:
        row = MessageBatch.objects.primary().filter(pk=pk).first()
        if row is not None and (row.state == State.INGESTED or _is_gone(row, client, report)):
            yield _absent_finding(row)


def other_workspace(alias: str, workspace_id: str) -> Iterator[Finding]:
    """Yield a finding if unfinished batches are in another Workspace than the account's key."""
    rows = MessageBatch.objects.primary().filter(account=alias, state__in=RUNNING | FETCHING)
    count = rows.exclude(workspace_id__in=["", workspace_id]).count() if workspace_id else 0
    if count:
        words = f"The key sees Workspace {workspace_id}, and unfinished batches were made in another: {count:,}."
        remedy = "Give the account a key of the Workspace that they were made in. Until then they are not fetched."
        yield Finding(FindingKind.OTHER_WORKSPACE, alias, words, remedy)


def _duplicate_submission(alias: str, data: wire.MessageBatch, attempt: SubmitAttempt) -> Iterator[Finding]:
    batch = attempt.batch
    if batch is None or batch.anthropic_id == data["id"] or batch.state in UNANSWERED:
        return  # deleted here on purpose, or about to be matched
    words = f"{data['id']} was made by attempt {attempt.number} of batch {batch}, which is another: both are billed."
    remedy = f"If its results are wanted: `claude_batches adopt {data['id']} --account {alias}`. Else delete it there."
    yield Finding(FindingKind.UNKNOWN_HERE, alias, words, remedy, remote_id=data["id"])


def _unknown_batch(alias: str, data: wire.MessageBatch, open_ones: list[SubmitAttempt]) -> Finding:
    words = f"{data['id']}, made at {data['created_at']} with {request_total(data):,} requests, is no batch here."
    for attempt in open_ones:
        if is_candidate(alias, data, [Window.of(attempt)]):
            words = f"{words} It may be what became of batch {attempt.batch}, which is not confirmed."
            remedy = "Nothing: the search settles it. `claude_batches reconcile` says how far that is."
            return Finding(FindingKind.UNKNOWN_HERE, alias, words, remedy, remote_id=data["id"], needs_a_person=False)
    remedy = (
        f"If it is this project's (a restored backup, a row that was deleted): `claude_batches adopt {data['id']} "
        f"--account {alias}`. If another program made it: nothing; a Workspace of its own, or SHARED in the account's "
        "settings, excludes it from the findings."
    )
    return Finding(FindingKind.UNKNOWN_HERE, alias, words, remedy, remote_id=data["id"])


def _is_gone(row: MessageBatch, client: BatchesClient, report: AuditReport) -> bool:
    """Retrieve the batch; after MAX_SINGLE_RETRIEVES believe the listing, if it was right about all of those."""
    if report.asked_for >= MAX_SINGLE_RETRIEVES:
        return report.refuted == 0
    report.asked_for += 1
    try:
        client.retrieve(str(row.anthropic_id))
    except NotFoundError:
        return True
    report.refuted += 1
    return False


def _absent_finding(row: MessageBatch) -> Finding:
    words = f"{row.anthropic_id} is not at Anthropic: it was deleted there, or the key is of another Workspace."
    if row.state == State.INGESTED and not row.missing_count:
        remedy = "Nothing: all its results are rows here."
        return finding_for(row, FindingKind.UNKNOWN_THERE, words, remedy, needs_a_person=False)
    if row.state == State.INGESTED:
        remedy = f"A retry drafts the {row.missing_count:,} missing ones anew."
    elif row.workspace_id:
        remedy = (
            "Nothing, if it was deleted: three misses over half an hour prove it, and it becomes lost automatically. A "
            "retry then drafts its requests anew."
        )
    else:
        remedy = (
            "Check that the key belongs to its Workspace, which is not known here. It becomes lost after 29 days, or "
            "at once with `manage.py claude_batches declare-lost`."
        )
    return finding_for(row, FindingKind.UNKNOWN_THERE, words, remedy)
