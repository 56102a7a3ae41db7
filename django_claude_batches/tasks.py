"""Celery tasks. Their names are stable: projects route by them.

Rows are the state machine; a task only advances one. So arguments are primary keys, there are no countdowns, retries or
results, no message expires, and running a task twice does nothing the second time. The tasks set their own time limits,
above the lease: a project-wide limit must not kill an ingest.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

from celery import current_app, shared_task
from django.db import transaction
from kombu.exceptions import OperationalError

from django_claude_batches import conf
from django_claude_batches.models import MessageBatch
from django_claude_batches.sanitize import get_logger
from django_claude_batches.schedule import TICK_SECONDS
from django_claude_batches.services.audits.audit import audit_due, dispatch_due_audits
from django_claude_batches.services.delivery.deliver import deliver_if_due, dispatch_due_deliveries
from django_claude_batches.services.engine import (
    advance_if_due,
    begin_tick,
    dispatch_due_batches,
    dispatch_due_polls,
    poll_if_due,
)
from django_claude_batches.services.reconciliation.late_arrivals import dispatch_due_watches, watch_due
from django_claude_batches.services.retention.purge import purge_due
from django_claude_batches.services.runs.drive import dispatch_due_runs, drive_if_due
from django_claude_batches.services.runs.start import start_job_if_free
from django_claude_batches.services.runs.throttle import submit_pending
from django_claude_batches.services.uploads.confirm import dispatch_due_uploads
from django_claude_batches.services.uploads.prepare import prepare_if_due

logger = get_logger(__name__)

# Seconds. A batch of 100,000 requests is fetched in minutes; a task of an hour hangs, and is continued after it is
# killed.
MINUTE = 60

# Seconds to wait for the broker's answer.
BROKER_TIMEOUT = 5

# The interval after which a row whose message no worker took is sent another; it doubles, up to 15 minutes. At first
# less than the time between beat's ticks, so that the next tick sends it. Ten clicks in the admin are ten ticks at
# once: without it each would send a message for each due row.
DISPATCH_INTERVAL = timedelta(seconds=TICK_SECONDS * 2 / 3)

# The arguments of a tick that does not come from beat.
KICK_KWARGS = {"is_kick": True}

HOUR_TASK_OPTIONS: dict[str, Any] = {
    "ignore_result": True,
    "acks_late": False,
    "soft_time_limit": 60 * MINUTE,
    "time_limit": 61 * MINUTE,
}


@shared_task(
    name="django_claude_batches.tick",
    ignore_result=True,
    acks_late=False,
    soft_time_limit=10 * MINUTE,
    time_limit=11 * MINUTE,
)
def tick(*, is_kick: bool = False) -> None:
    """Send one task for each batch, run, delivery and uploaded file that is due, and for each account to be polled.

    A tick from beat, which has no arguments, does nothing if another tick began within 20 seconds. It sends no HTTP: a
    slow server would delay the work of all accounts. An error in one of these steps does not prevent the others. The
    last error is raised at the end, with those before it as its context.
    """
    if not begin_tick(is_kick=is_kick):
        return
    with ExitStack() as steps:  # called last in, first out, even if others raise
        steps.callback(_send, deliver, dispatch_due_deliveries)
        steps.callback(_send, poll, dispatch_due_polls)
        steps.callback(_send, advance, dispatch_due_batches)
        steps.callback(submit_pending)
        steps.callback(_send, drive, dispatch_due_runs)
        steps.callback(_send, prepare, dispatch_due_uploads)


@shared_task(name="django_claude_batches.advance", **HOUR_TASK_OPTIONS)
def advance(pk: int) -> None:
    """Do what is due for one batch; then dispatch the deliveries and batches that became due."""
    advance_if_due(pk)
    _send(deliver, dispatch_due_deliveries)
    _send(advance, dispatch_due_batches)


@shared_task(name="django_claude_batches.poll", **HOUR_TASK_OPTIONS)
def poll(alias: str) -> None:
    """Poll an account's batches; then dispatch those that became due."""
    poll_if_due(alias)
    _send(advance, dispatch_due_batches)


@shared_task(name="django_claude_batches.drive", **HOUR_TASK_OPTIONS)
def drive(pk: int) -> None:
    """Do what is due for one run of a job; then dispatch the batches that it drafted."""
    drive_if_due(pk)
    _send_kick()


@shared_task(name="django_claude_batches.deliver", **HOUR_TASK_OPTIONS)
def deliver(pk: int) -> None:
    """Deliver some results to their job; after the last ones of a batch, dispatch its run."""
    deliver_if_due(pk)
    _send(drive, dispatch_due_runs)


@shared_task(name="django_claude_batches.start_job", **HOUR_TASK_OPTIONS)
def start_job(name: str, label: str = "") -> None:
    """Start a job, for an entry in beat's schedule; if it is already running, only log that."""
    start_job_if_free(name, label=label)
    _send_kick()


@shared_task(name="django_claude_batches.prepare", **HOUR_TASK_OPTIONS)
def prepare(pk: int) -> None:
    """Check or draft one uploaded file."""
    prepare_if_due(pk)


@shared_task(name="django_claude_batches.audit", **HOUR_TASK_OPTIONS)
def audit() -> None:
    """Send a task for each account whose last audit is a day old."""
    dispatch_due_audits(lambda alias: audit_account.apply_async((alias,)))


@shared_task(name="django_claude_batches.audit_account", **HOUR_TASK_OPTIONS)
def audit_account(alias: str) -> None:
    """Compare an account's batches at Anthropic with the rows, if its last audit is a day old."""
    audit_due(alias)


@shared_task(name="django_claude_batches.purge", **HOUR_TASK_OPTIONS)
def purge() -> None:
    """Purge what RETENTION has expired, for the accounts whose last purge is a day old."""
    purge_due()


@shared_task(name="django_claude_batches.watch", **HOUR_TASK_OPTIONS)
def watch() -> None:
    """Send a task for each account whose last watch is ten minutes old."""
    dispatch_due_watches(lambda alias: watch_account.apply_async((alias,)))


@shared_task(name="django_claude_batches.watch_account", **HOUR_TASK_OPTIONS)
def watch_account(alias: str) -> None:
    """Look for batches of an account's unanswered create calls that appear after the search has ended."""
    watch_due(alias)


def kick() -> None:
    """Send one tick when the transaction commits, so that work starts before the next one.

    For entry points, once per request, however many batches it changed. An error of the broker is logged and changes
    nothing: the rows are due, and the next tick finds them.
    """
    if conf.kick():
        transaction.on_commit(_send_kick, using=MessageBatch.objects.primary().db, robust=True)


def _send(task: Any, dispatch_due: Callable[..., object]) -> None:
    """Send a message of the task for each row that is due."""
    dispatch_due(lambda key: task.apply_async((key,)), rest=DISPATCH_INTERVAL)


def _send_kick() -> None:
    tick.apply_async(kwargs=KICK_KWARGS)


def ask_broker() -> tuple[str, str]:
    """Return the broker's URL, and why it cannot be reached; each may be empty. Takes about 5 seconds at most.

    Neither contains a password.
    """
    url = ""
    try:
        with current_app.connection_for_write(connect_timeout=BROKER_TIMEOUT) as connection:
            url = connection.as_uri()
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=BROKER_TIMEOUT)
    except (OSError, OperationalError) as error:
        return url, str(error)
    except Exception as error:  # noqa: BLE001 (each transport has its own)
        return url, type(error).__name__  # not its text, which may quote an invalid URL
    return url, ""
