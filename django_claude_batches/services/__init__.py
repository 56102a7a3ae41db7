"""The verbs. Each takes a batch, updates it and returns it; `by` is the user, for the timeline."""

from __future__ import annotations

from django_claude_batches.services.account_pauses import resume
from django_claude_batches.services.announcements import announce_again
from django_claude_batches.services.audits.audit import audit, audit_due, hand_out_audits
from django_claude_batches.services.delivery.deliver import deliver_if_due, hand_out_deliveries
from django_claude_batches.services.doctor.diagnose import diagnose
from django_claude_batches.services.engine import (
    accounts_at_work,
    advance,
    advance_if_due,
    begin_tick,
    hand_out_batches,
    hand_out_polls,
    poll_if_due,
    tick,
    wait,
)
from django_claude_batches.services.ingestion.reingest import reingest
from django_claude_batches.services.installation import confirm_installation
from django_claude_batches.services.polling.cancel import cancel
from django_claude_batches.services.polling.delete import delete_remote
from django_claude_batches.services.polling.loss import declare_lost
from django_claude_batches.services.reconciliation.adopt import adopt, adopt_all, claim
from django_claude_batches.services.reconciliation.late_arrivals import hand_out_watches, watch, watch_due
from django_claude_batches.services.reconciliation.reconcile import give_up
from django_claude_batches.services.retention.erase import Erasure, RemoteCopy, erase
from django_claude_batches.services.retention.purge import purge, purge_due
from django_claude_batches.services.retries import retry
from django_claude_batches.services.runs.advance import advance_run
from django_claude_batches.services.runs.control import (
    cancel_run,
    deliver_parked,
    pause_run,
    redeliver,
    resume_run,
    retry_run,
)
from django_claude_batches.services.runs.drive import drive_if_due, hand_out_runs
from django_claude_batches.services.runs.dry_run import DryRun, dry_run
from django_claude_batches.services.runs.start import start_job, start_job_if_free
from django_claude_batches.services.runs.throttle import release
from django_claude_batches.services.submission.submit import submit
from django_claude_batches.services.uploads.confirm import (
    confirm_upload,
    discard_upload,
    hand_out_uploads,
    recheck_upload,
)
from django_claude_batches.services.uploads.prepare import prepare, prepare_if_due

__all__ = [
    "DryRun",
    "Erasure",
    "RemoteCopy",
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
    "claim",
    "confirm_installation",
    "confirm_upload",
    "declare_lost",
    "delete_remote",
    "deliver_if_due",
    "deliver_parked",
    "diagnose",
    "discard_upload",
    "drive_if_due",
    "dry_run",
    "erase",
    "give_up",
    "hand_out_audits",
    "hand_out_batches",
    "hand_out_deliveries",
    "hand_out_polls",
    "hand_out_runs",
    "hand_out_uploads",
    "hand_out_watches",
    "pause_run",
    "poll_if_due",
    "prepare",
    "prepare_if_due",
    "purge",
    "purge_due",
    "recheck_upload",
    "redeliver",
    "reingest",
    "release",
    "resume",
    "resume_run",
    "retry",
    "retry_run",
    "start_job",
    "start_job_if_free",
    "submit",
    "tick",
    "wait",
    "watch",
    "watch_due",
]
