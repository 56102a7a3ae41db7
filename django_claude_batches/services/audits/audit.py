"""The remote list against the rows: once a day for each account, and whenever somebody asks. It changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from django_claude_batches import conf
from django_claude_batches.db.leases import DatabaseNow, now_plus
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.models import AccountState, BatchEvent, MessageBatch
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.account_pauses import account_state, known_accounts
from django_claude_batches.services.audits.findings import AuditReport, Finding
from django_claude_batches.services.audits.mismatches import about_to_archive, counts_differ, still_there
from django_claude_batches.services.audits.orphans import other_workspace, unknown_here, unknown_there
from django_claude_batches.services.connection import connect, require_no_transaction
from django_claude_batches.services.installation import require_own_installation
from django_claude_batches.services.listings.listing import ListingPage, listing_pages
from django_claude_batches.services.slow_accounts import may_start_work, stop_after_slow_call

logger = get_logger(__name__)

INTERVAL = timedelta(hours=23, minutes=30)
"""A little less than a day: what looks every hour then audits at about the same time of each day."""

RETRY_INTERVAL = timedelta(hours=1)
"""Until the next try where an audit failed, or its process was killed."""

BUDGET = timedelta(minutes=5)
"""Of the listing of one account: some hundred thousand batches."""


def audit(account: str | None = None, *, progress: Callable[[AuditReport], object] | None = None) -> list[AuditReport]:
    """Compare all that an account lists at Anthropic with our rows; without `account`, for each account in use.

    Free, and reads only: it writes nothing but what it found into the timelines of the batches concerned and into the
    log. An account whose key is refused, or that cannot be reached, says so in its report's `problem`, and ends no
    other's audit. A paused account is audited too; in what may be a copy of the database none is. `progress` is called
    with the report after each page. Not inside a transaction.
    """
    require_no_transaction("audit()")
    aliases = [alias for alias in known_accounts() if _is_used(alias)] if account is None else [account]
    return [_audit_account(alias, progress) for alias in aliases]


def audit_due(account: str | None = None) -> list[AuditReport]:
    """Audit the accounts, or this one, whose last audit is a day old; elsewhere do nothing.

    When it is due stands in the account's row. A failed one is tried again in an hour.
    """
    require_no_transaction("audit_due()")
    return [_audit_account(alias, None) for alias in _accounts_due(account)]


def dispatch_due_audits(dispatch: Callable[[str], object]) -> None:
    """`dispatch` the alias of each account whose last audit is a day old. Asks no server, and takes no turn."""
    for alias in known_accounts():
        if may_start_work(alias) and AccountState.objects.is_turn(alias, "next_audit_at") and _is_used(alias):
            dispatch(alias)


def _accounts_due(account: str | None) -> Iterator[str]:
    for alias in known_accounts() if account is None else [account]:
        is_due = may_start_work(alias) and AccountState.objects.take_turn(alias, "next_audit_at", RETRY_INTERVAL)
        if is_due and _is_used(alias):
            yield alias


def _is_used(alias: str) -> bool:
    """Whether it has batches or a key: `default` is always an account, and many a project names its own instead."""
    if MessageBatch.objects.primary().filter(account=alias).exists():
        return True
    try:
        return bool(conf.account(alias).api_key)
    except conf.ConfigurationError:
        return False


@stop_after_slow_call()
def _audit_account(alias: str, progress: Callable[[AuditReport], object] | None) -> AuditReport:
    report = AuditReport(alias)
    try:
        for finding in _findings(report, progress):
            if report.add(finding):
                _log_finding(finding)
    except (ClaudeBatchesError, conf.ConfigurationError) as error:
        report.problem = str(error)
    except Exception as error:  # one account's oddity stops no other's audit
        report.problem = f"{type(error).__name__}: {error}"
        logger.exception("The audit of account %s failed.", alias)
    if report.problem:
        logger.warning("The audit of account %s ended early: %s", alias, report.problem)
        return report
    AccountState.objects.primary().filter(pk=account_state(alias).pk).update(
        audited_at=DatabaseNow(), audit_findings=report.needing, next_audit_at=now_plus(INTERVAL)
    )
    return report


def _findings(report: AuditReport, progress: Callable[[AuditReport], object] | None) -> Iterator[Finding]:
    alias = report.account
    require_own_installation(alias)
    yield from about_to_archive(alias)  # known without asking: a refused key does not hide it
    client = connect(alias)
    page: ListingPage | None = None
    for page in listing_pages(client, alias, budget=BUDGET):
        report.listed += len(page.batches)
        report.is_complete = page.is_last
        rows = MessageBatch.objects.primary().in_bulk(list(page.batches), field_name="anthropic_id")
        yield from unknown_here(alias, [data for id_, data in page.batches.items() if id_ not in rows], report)
        pairs = [(row, page.batches[id_]) for id_, row in rows.items() if row.account == alias]
        yield from still_there(pairs)
        yield from counts_differ(pairs)
        yield from unknown_there(alias, page, client, report)
        if progress is not None:
            progress(report)
    if page is not None:
        yield from other_workspace(alias, page.workspace_id)


def _log_finding(finding: Finding) -> None:
    """Log it, and write it into the batch's timeline, unless the last word of its kind there is the same."""
    logger.warning("Audit of account %s, %s: %s", finding.account, finding.kind, finding.words)
    if finding.batch is None:
        return
    what = f"audit_{finding.kind}"
    last = BatchEvent.objects.primary().filter(batch=finding.batch, what=what).last()
    batch = MessageBatch.objects.primary().filter(pk=finding.batch).first()
    if batch is not None and (last is None or last.text != finding.words):
        batch.log_event(what, finding.words)
