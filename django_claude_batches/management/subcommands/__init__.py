"""The words after `manage.py claude_batches`, in the order of a batch's life."""

from __future__ import annotations

from django_claude_batches.management.cli.subcommand import Subcommand
from django_claude_batches.management.subcommands.adopt import Adopt
from django_claude_batches.management.subcommands.audit import Audit
from django_claude_batches.management.subcommands.batch_actions import (
    Cancel,
    DeclareLost,
    Delete,
    GiveUp,
    Reingest,
    Submit,
)
from django_claude_batches.management.subcommands.confirm import Confirm
from django_claude_batches.management.subcommands.doctor import Doctor
from django_claude_batches.management.subcommands.draft import Draft
from django_claude_batches.management.subcommands.erase import Erase
from django_claude_batches.management.subcommands.export import ExportResults
from django_claude_batches.management.subcommands.purge import Purge
from django_claude_batches.management.subcommands.reconcile import Reconcile
from django_claude_batches.management.subcommands.resume import Resume
from django_claude_batches.management.subcommands.retry import Retry
from django_claude_batches.management.subcommands.run import Run
from django_claude_batches.management.subcommands.run_actions import CancelRun, PauseRun, ResumeRun, RetryRun
from django_claude_batches.management.subcommands.runs import Runs
from django_claude_batches.management.subcommands.status import Status
from django_claude_batches.management.subcommands.tick import Tick
from django_claude_batches.management.subcommands.wait import Wait

ALL: tuple[Subcommand, ...] = (
    Draft(),
    Submit(),
    Status(),
    Wait(),
    ExportResults(),
    Tick(),
    Run(),
    Runs(),
    PauseRun(),
    ResumeRun(),
    CancelRun(),
    RetryRun(),
    Cancel(),
    Delete(),
    Reingest(),
    Retry(),
    Reconcile(),
    Adopt(),
    Audit(),
    Doctor(),
    Purge(),
    Erase(),
    GiveUp(),
    DeclareLost(),
    Resume(),
    Confirm(),
)
