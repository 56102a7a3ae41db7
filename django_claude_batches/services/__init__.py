"""The verbs. Each takes a batch, updates it and returns it; `by` is the user, for the timeline."""

from __future__ import annotations

from django_claude_batches.services.account_pauses import resume
from django_claude_batches.services.announcements import announce_again
from django_claude_batches.services.audits.audit import audit, audit_due, dispatch_due_audits
from django_claude_batches.services.delivery.deliver import deliver_if_due, dispatch_due_deliveries
from django_claude_batches.services.delivery.redeliver import redeliver, redeliver_failed
from django_claude_batches.services.doctor.diagnose import diagnose
from django_claude_batches.services.engine import (
    accounts_at_work,
    advance,
    advance_if_due,
    begin_tick,
    dispatch_due_batches,
    dispatch_due_polls,
    poll_if_due,
    tick,
    wait,
)
from django_claude_batches.services.ingestion.reingest import reingest
from django_claude_batches.services.installation import confirm_installation
from django_claude_batches.services.polling.cancel import cancel
from django_claude_batches.services.polling.delete import delete_remote
from django_claude_batches.services.polling.loss import declare_lost
from django_claude_batches.services.reconciliation.adopt import adopt, adopt_all, identify
from django_claude_batches.services.reconciliation.late_arrivals import dispatch_due_watches, watch, watch_due
from django_claude_batches.services.reconciliation.reconcile import abandon
from django_claude_batches.services.retention.erase import Erasure, RemoteCopy, erase
from django_claude_batches.services.retention.purge import purge, purge_due
from django_claude_batches.services.retries import retry
from django_claude_batches.services.runs.advance import advance_run
from django_claude_batches.services.runs.control import cancel_run, pause_run, resume_run, retry_run
from django_claude_batches.services.runs.drive import dispatch_due_runs, drive_if_due
from django_claude_batches.services.runs.dry_run import DryRun, dry_run
from django_claude_batches.services.runs.start import start_job, start_job_if_free
from django_claude_batches.services.runs.throttle import submit_pending
from django_claude_batches.services.submission.submit import submit
from django_claude_batches.services.uploads.confirm import (
    confirm_upload,
    discard_upload,
    dispatch_due_uploads,
    recheck_upload,
)
from django_claude_batches.services.uploads.prepare import prepare, prepare_if_due

__all__ = [
    "DryRun",
    "Erasure",
    "RemoteCopy",
    "abandon",
    "accounts_at_work",
    "adopt",
    "adopt_all",
    "advance",
    "advance_if_due",
    "advance_run",
    "announce_again",
    "audit",
    "audit_due",
    "begin_tick",
    "cancel",
    "cancel_run",
    "confirm_installation",
    "confirm_upload",
    "declare_lost",
    "delete_remote",
    "deliver_if_due",
    "diagnose",
    "discard_upload",
    "dispatch_due_audits",
    "dispatch_due_batches",
    "dispatch_due_deliveries",
    "dispatch_due_polls",
    "dispatch_due_runs",
    "dispatch_due_uploads",
    "dispatch_due_watches",
    "drive_if_due",
    "dry_run",
    "erase",
    "identify",
    "pause_run",
    "poll_if_due",
    "prepare",
    "prepare_if_due",
    "purge",
    "purge_due",
    "recheck_upload",
    "redeliver",
    "redeliver_failed",
    "reingest",
    "resume",
    "resume_run",
    "retry",
    "retry_run",
    "start_job",
    "start_job_if_free",
    "submit",
    "submit_pending",
    "tick",
    "wait",
    "watch",
    "watch_due",
]
