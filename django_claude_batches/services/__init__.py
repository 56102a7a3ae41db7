"""The verbs. Each takes a batch, updates it and returns it; `by` is the user, for the timeline."""

from __future__ import annotations

from django_claude_batches.services.adoption import adopt, adopt_all, claim
from django_claude_batches.services.advancing import (
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
from django_claude_batches.services.announcing import announce_again
from django_claude_batches.services.auditing import audit, audit_due, hand_out_audits
from django_claude_batches.services.cancellation import cancel
from django_claude_batches.services.deletion import delete_remote
from django_claude_batches.services.diagnosing import diagnose
from django_claude_batches.services.erasing import Erasure, RemoteCopy, erase
from django_claude_batches.services.guarding import confirm_installation
from django_claude_batches.services.pausing import resume
from django_claude_batches.services.preparing import prepare, prepare_if_due
from django_claude_batches.services.purging import purge, purge_due
from django_claude_batches.services.reconciliation import give_up
from django_claude_batches.services.reingesting import reingest
from django_claude_batches.services.retrying import retry
from django_claude_batches.services.runs.advancing import advance_run
from django_claude_batches.services.runs.delivering import deliver_if_due, hand_out_deliveries
from django_claude_batches.services.runs.driving import drive_if_due, hand_out_runs
from django_claude_batches.services.runs.dry_run import DryRun, dry_run
from django_claude_batches.services.runs.releasing import release
from django_claude_batches.services.runs.starting import start_job, start_job_if_free
from django_claude_batches.services.runs.wishes import (
    cancel_run,
    deliver_parked,
    pause_run,
    redeliver,
    resume_run,
    retry_run,
)
from django_claude_batches.services.submission import submit
from django_claude_batches.services.uploading import (
    confirm_upload,
    discard_upload,
    hand_out_uploads,
    recheck_upload,
)
from django_claude_batches.services.vanishing import declare_lost
from django_claude_batches.services.watching import hand_out_watches, watch, watch_due

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
