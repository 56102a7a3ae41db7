"""What Celery tasks and `manage.py claude_batches tick` call to find and do what is due. Not part of the public API."""

from __future__ import annotations

from django_claude_batches.services.audits.audit import audit_due, dispatch_due_audits
from django_claude_batches.services.delivery.deliver import deliver_if_due, dispatch_due_deliveries
from django_claude_batches.services.engine import (
    accounts_at_work,
    advance_if_due,
    begin_tick,
    dispatch_due_batches,
    dispatch_due_polls,
    poll_if_due,
    tick,
)
from django_claude_batches.services.reconciliation.late_arrivals import dispatch_due_watches, watch, watch_due
from django_claude_batches.services.retention.purge import purge_due
from django_claude_batches.services.runs.drive import dispatch_due_runs, drive_if_due
from django_claude_batches.services.runs.start import start_job_if_free
from django_claude_batches.services.runs.throttle import submit_pending
from django_claude_batches.services.uploads.confirm import dispatch_due_uploads
from django_claude_batches.services.uploads.prepare import prepare, prepare_if_due

__all__ = [
    "accounts_at_work",
    "advance_if_due",
    "audit_due",
    "begin_tick",
    "deliver_if_due",
    "dispatch_due_audits",
    "dispatch_due_batches",
    "dispatch_due_deliveries",
    "dispatch_due_polls",
    "dispatch_due_runs",
    "dispatch_due_uploads",
    "dispatch_due_watches",
    "drive_if_due",
    "poll_if_due",
    "prepare",
    "prepare_if_due",
    "purge_due",
    "start_job_if_free",
    "submit_pending",
    "tick",
    "watch",
    "watch_due",
]
