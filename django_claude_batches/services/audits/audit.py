"""Audit accounts: list all of their batches at Anthropic and report differences from the rows.

An audit changes nothing but the timelines and the time of the last audit.
"""

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

# A little less than a day, so that an hourly check audits at about the same time each day.
INTERVAL = timedelta(hours=23, minutes=30)

# Delay before the next attempt after an audit failed or its process was killed.
RETRY_INTERVAL = timedelta(hours=1)

# For listing one account: a few hundred thousand batches.
BUDGET = timedelta(minutes=5)


def audit(account: str | None = None, *, progress: Callable[[AuditReport], object] | None = None) -> list[AuditReport]:
    """Compare all batches that an account lists at Anthropic with the rows; without `account`, for each account in use.

    Free and read-only: it writes only its findings, to the timelines of the batches concerned and to the log. If an
    account's key is refused or it cannot be reached, its report's `problem` says so, and the other accounts are audited
    all the same. A paused account is audited too; in a database that may be a copy, none is. `progress` is called with
    the report after each page. Must run outside a transaction.
    """
    require_no_transaction("audit()")
    aliases = [alias for alias in known_accounts() if _is_used(alias)] if account is None else [account]
    return [_audit_account(alias, progress) for alias in aliases]


def audit_due(account: str | None = None) -> list[AuditReport]:
    """Audit this account, or all accounts, if the last audit is a day old; else do nothing.

    The account's row records when the next audit is due. A failed one is retried in an hour.
    """
    require_no_transaction("audit_due()")
    reports = []
    for alias in known_accounts() if account is None else [account]:
        is_due = may_start_work(alias) and AccountState.objects.take_turn(alias, "next_audit_at", RETRY_INTERVAL)
        if is_due and _is_used(alias):
            reports.append(_audit_account(alias, None))
    return reports


def dispatch_due_audits(dispatch: Callable[[str], object]) -> None:
    """Call `dispatch` with the alias of each account whose last audit is a day old. No HTTP, no lease."""
    for alias in known_accounts():
        if may_start_work(alias) and AccountState.objects.is_turn(alias, "next_audit_at") and _is_used(alias):
            dispatch(alias)


def _is_used(alias: str) -> bool:
    """Return whether the account has batches or a key.

    `default` is always an account, even if a project uses only others.
    """
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
    except Exception as error:  # an error of one account must not stop the audit of the others
        report.problem = f"{type(error).__name__}: {error}"
        logger.exception("The audit of account %s failed.", alias)
    if report.problem:
        logger.warning("The audit of account %s ended early: %s", alias, report.problem)
        return report
    AccountState.objects.primary().filter(pk=account_state(alias).pk).update(
        audited_at=DatabaseNow(),
        audit_findings=report.needing,
        findings=report.stored,
        next_audit_at=now_plus(INTERVAL),
    )
    return report


def _findings(report: AuditReport, progress: Callable[[AuditReport], object] | None) -> Iterator[Finding]:
    alias = report.account
    require_own_installation(alias)
    yield from about_to_archive(alias)  # needs no request: reported even if the key is refused
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
    """Log the finding, and add it to the batch's timeline unless the last event of its kind there is the same."""
    logger.warning("Audit of account %s, %s: %s", finding.account, finding.kind, finding.words)
    if finding.batch is None:
        return
    what = f"audit_{finding.kind}"
    last = BatchEvent.objects.primary().filter(batch=finding.batch, what=what).last()
    batch = MessageBatch.objects.primary().filter(pk=finding.batch).first()
    if batch is not None and (last is None or last.text != finding.words):
        batch.log_event(what, finding.words)
