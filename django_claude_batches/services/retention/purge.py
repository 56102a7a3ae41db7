"""Purge what RETENTION has expired, in transactions of at most 1,000 rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta

from django.db import transaction
from django.db.models import Q

from django_claude_batches import conf
from django_claude_batches.db.leases import now_plus
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.models import AccountState, BatchUpload, JobRun, RemoteBatch
from django_claude_batches.models.large_columns import clear_run_texts
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.account_pauses import account_state, clear_pause_reasons, known_accounts
from django_claude_batches.services.connection import require_no_transaction
from django_claude_batches.services.installation import require_own_installation
from django_claude_batches.services.polling.delete import delete_remote, is_searched_for
from django_claude_batches.services.retention.bodies import PurgeCount, PurgeProgress, PurgeReport, purge_bodies
from django_claude_batches.services.retention.policy import (
    KEPT_REMOTELY,
    REQUEST_BODIES,
    RESULT_BODIES,
    BodyKind,
    expired,
    expired_remotely,
)

logger = get_logger(__name__)

# A little less than a day, so that an hourly check purges at about the same time each day.
INTERVAL = timedelta(hours=23, minutes=30)

# Delay before the next purge after the time limit, an error, or a killed process.
RETRY_INTERVAL = timedelta(hours=1)

# The minimum time to check and draft an uploaded file, however short REQUEST_BODIES is.
MIN_UPLOAD_RETENTION = timedelta(days=1)

# For a purge within `tick --loop`, which sends and fetches nothing during it: enough for a million rows.
BUDGET = timedelta(minutes=2)


def purge(
    account: str | None = None,
    *,
    dry_run: bool = False,
    budget: timedelta | None = None,
    progress: Callable[[PurgeReport], object] | None = None,
) -> list[PurgeReport]:
    """Purge what RETENTION has expired, of one account or of all; without the setting, nothing.

    A transaction purges at most a thousand rows, or 8 MB. After an interruption, or at the end of its `budget`, the
    next call continues. A batch that another process has leased is left for later, and in a database that may be a copy
    nothing is purged. With `dry_run` nothing is deleted, and the reports say what would be; rows are then counted by
    their batches' columns. `progress` is called with the report after each transaction. Must run outside a transaction.
    Raise ConfigurationError for an account that is neither in the settings nor in the database.
    """
    require_no_transaction("purge()")
    if conf.retention().is_for_ever:
        return []
    aliases = known_accounts() if account is None else [account]
    if account is not None and account not in known_accounts():
        conf.account(account)  # raises ConfigurationError
    give_up_at = None if budget is None else time.monotonic() + budget.total_seconds()
    return [
        _purge_account(PurgeProgress(PurgeReport(alias), give_up_at, progress), dry_run=dry_run) for alias in aliases
    ]


def purge_due() -> list[PurgeReport]:
    """Purge the accounts whose last purge is a day old; else do nothing. For periodic callers.

    The account's row records when the next purge is due. One that did not finish within 2 minutes continues in an hour.
    """
    require_no_transaction("purge_due()")
    if conf.retention().is_for_ever:
        return []
    due = (
        alias for alias in known_accounts() if AccountState.objects.take_turn(alias, "next_purge_at", RETRY_INTERVAL)
    )
    return [report for alias in due for report in purge(alias, budget=BUDGET)]


def _purge_account(progress_so_far: PurgeProgress, *, dry_run: bool) -> PurgeReport:
    report = progress_so_far.report
    try:
        require_own_installation(report.account)
        _delete_copies(progress_so_far, dry_run=dry_run)  # first: only these have a deadline
        for kind, delay, purged in _kinds(report):
            _purge_kind(kind, delay, purged, progress_so_far, dry_run=dry_run)
        delays = [delay for _kind, delay, _purged in _kinds(report)]
        if delays and not dry_run:
            _clear_error_texts(report.account, min(delays))
        if (kept := conf.retention().request_bodies) is not None and not dry_run:
            uploads = BatchUpload.objects.filter(account=report.account)
            uploads.delete_stale(max(kept, MIN_UPLOAD_RETENTION))
    except (ClaudeBatchesError, conf.ConfigurationError) as error:
        report.problem = str(error)
        logger.warning("The purge of account %s ended early: %s", report.account, error)
    except Exception as error:  # an error of one account must not stop the purge of the others
        report.problem = f"{type(error).__name__}: {error}"
        logger.exception("The purge of account %s failed.", report.account)
    if not dry_run and report.is_complete and not report.problem:
        states = AccountState.objects.primary().filter(pk=account_state(report.account).pk)
        states.update(next_purge_at=now_plus(INTERVAL))
    return report


def _kinds(report: PurgeReport) -> Iterator[tuple[BodyKind, timedelta, PurgeCount]]:
    """Yield the kinds that the settings do not keep for ever."""
    retention = conf.retention()
    if retention.request_bodies is not None:
        yield REQUEST_BODIES, retention.request_bodies, report.request_bodies
    if retention.result_bodies is not None:
        yield RESULT_BODIES, retention.result_bodies, report.result_bodies


def _purge_kind(
    kind: BodyKind, delay: timedelta, purged: PurgeCount, progress_so_far: PurgeProgress, *, dry_run: bool
) -> None:
    batches = expired(kind, progress_so_far.report.account, delay)
    purged.kept = batches.filter(kind.kept).count()
    if dry_run:
        counts = list(batches.exclude(kind.kept).values_list(kind.counted_by, flat=True))
        purged.batches, purged.rows = len(counts), sum(counts)
        progress_so_far.report_progress()
        return
    for pk in list(batches.exclude(kind.kept).values_list("pk", flat=True)):
        if progress_so_far.is_over:
            return
        purge_bodies(pk, kind, purged, progress_so_far)
        progress_so_far.report_progress()


def _clear_error_texts(alias: str, delay: timedelta) -> None:
    """Empty the texts of runs, of the account and of its listed batches of that age.

    These cannot be found through batches: a run that pauses at its first row has none. What is paused stays paused; if
    it is resumed and pauses again, it gets a new reason.
    """
    since = now_plus(-delay)
    still = Q(paused_at__lte=since) | Q(finished_at__lte=since)
    clear_run_texts(JobRun.objects.primary().filter(still, account=alias))
    clear_pause_reasons(AccountState.objects.primary().filter(alias=alias, paused_at__lte=since))
    RemoteBatch.objects.of(alias).filter(first_seen_at__lte=since).exclude(why="").update(why="")


def _delete_copies(progress_so_far: PurgeProgress, *, dry_run: bool) -> None:
    """Request deletion of the remote copies, except for accounts not in the settings: no request can be sent."""
    delay, copies = conf.retention().remote_copies, progress_so_far.report.remote_copies
    if delay is None or progress_so_far.report.account not in conf.accounts():
        return
    there = expired_remotely(progress_so_far.report.account, delay)
    copies.kept = there.filter(KEPT_REMOTELY).count()
    for batch in list(there.exclude(KEPT_REMOTELY)):
        if progress_so_far.is_over:
            return
        if is_searched_for(batch):
            copies.kept += 1
            continue
        if not dry_run:
            with transaction.atomic(using=there.db, durable=True):
                batch.log_event("remote_copy_expired", "RETENTION says that its copy at Anthropic is not to be kept.")
                delete_remote(batch)
        copies.batches += 1
        progress_so_far.report_progress()
