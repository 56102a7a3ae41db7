"""The verbs. Each takes a batch, updates it and returns it; `by` is the user, for the timeline."""

from __future__ import annotations

from django_claude_batches.services.adoption import adopt, adopt_all, claim
from django_claude_batches.services.advancing import advance, advance_if_due, tick, wait
from django_claude_batches.services.announcing import announce_again
from django_claude_batches.services.auditing import audit, audit_due
from django_claude_batches.services.cancellation import cancel
from django_claude_batches.services.deletion import delete_remote
from django_claude_batches.services.guarding import confirm_installation
from django_claude_batches.services.pausing import resume
from django_claude_batches.services.purging import purge, purge_due
from django_claude_batches.services.reconciliation import give_up
from django_claude_batches.services.retrying import retry
from django_claude_batches.services.submission import submit

__all__ = [
    "adopt",
    "adopt_all",
    "advance",
    "advance_if_due",
    "announce_again",
    "audit",
    "audit_due",
    "cancel",
    "claim",
    "confirm_installation",
    "delete_remote",
    "give_up",
    "purge",
    "purge_due",
    "resume",
    "retry",
    "submit",
    "tick",
    "wait",
]
