"""The public API: functions that act on batches, runs, uploads and accounts.

Most take a row, update it and return it; `by` is the user, for the timeline. What only tasks and `tick` call, such as
`dispatch_due_runs` and `drive_if_due`, is imported from its module.
"""

from __future__ import annotations

from django_claude_batches.services.account_pauses import resume
from django_claude_batches.services.announcements import announce_again
from django_claude_batches.services.audits.audit import audit
from django_claude_batches.services.audits.findings import AuditReport, Finding, FindingKind
from django_claude_batches.services.delivery.redeliver import redeliver, redeliver_failed
from django_claude_batches.services.doctor.diagnose import diagnose
from django_claude_batches.services.doctor.report import CheckResult, Diagnosis
from django_claude_batches.services.engine import advance, wait
from django_claude_batches.services.ingestion.reingest import reingest
from django_claude_batches.services.installation import confirm_installation
from django_claude_batches.services.polling.cancel import cancel
from django_claude_batches.services.polling.delete import delete_remote
from django_claude_batches.services.polling.loss import declare_lost
from django_claude_batches.services.reconciliation.adopt import adopt, adopt_all, identify
from django_claude_batches.services.reconciliation.reconcile import abandon
from django_claude_batches.services.retention.bodies import PurgeCount, PurgeReport
from django_claude_batches.services.retention.erase import erase
from django_claude_batches.services.retention.erasure import Erasure, RemoteCopy
from django_claude_batches.services.retention.purge import purge
from django_claude_batches.services.retries import retry
from django_claude_batches.services.runs.advance import advance_run
from django_claude_batches.services.runs.control import cancel_run, pause_run, resume_run, retry_run
from django_claude_batches.services.runs.dry_run import DryRun, dry_run
from django_claude_batches.services.runs.start import start_job
from django_claude_batches.services.submission.submit import submit
from django_claude_batches.services.uploads.confirm import change_upload, confirm_upload, discard_upload, recheck_upload

__all__ = [
    "AuditReport",
    "CheckResult",
    "Diagnosis",
    "DryRun",
    "Erasure",
    "Finding",
    "FindingKind",
    "PurgeCount",
    "PurgeReport",
    "RemoteCopy",
    "abandon",
    "adopt",
    "adopt_all",
    "advance",
    "advance_run",
    "announce_again",
    "audit",
    "cancel",
    "cancel_run",
    "change_upload",
    "confirm_installation",
    "confirm_upload",
    "declare_lost",
    "delete_remote",
    "diagnose",
    "discard_upload",
    "dry_run",
    "erase",
    "identify",
    "pause_run",
    "purge",
    "recheck_upload",
    "redeliver",
    "redeliver_failed",
    "reingest",
    "resume",
    "resume_run",
    "retry",
    "retry_run",
    "start_job",
    "submit",
    "wait",
]
