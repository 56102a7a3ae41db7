"""Start runs of jobs. Of a job that does not allow overlap, one is active at a time."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from django_claude_batches import conf
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.exceptions import AlreadyRunning
from django_claude_batches.models import JobRun, RunState
from django_claude_batches.models.event import user_name
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.backoff import NO_DELAY
from django_claude_batches.services.job_calls import get_job

logger = get_logger(__name__)


def start_job(name: str, *, label: str = "", by: Any = None, skip_unaskable: bool = False) -> JobRun:
    """Start a run of the job; a worker drafts its rows and sends them.

    Sends no HTTP: inside your transaction, the run starts with the commit. With `skip_unaskable`, rows that cannot be
    asked are left out and counted; otherwise the first one pauses the run, unless the job's class sets
    `skip_unaskable`.

    Raise UnknownJob for a name that this process does not know, AlreadyRunning while a run of the job is active (one of
    two simultaneous starts succeeds), and ConfigurationError for an account that the settings do not have.
    """
    job = get_job(name)
    conf.account(job.account)
    runs = JobRun.objects.primary()
    try:
        with transaction.atomic(using=runs.db):
            run = runs.create(
                job=name,
                label=label,
                account=job.account,
                skip_unaskable=skip_unaskable,
                exclusive=None if job.allow_overlap else name,
                created_by=by,
                created_by_name=user_name(by),
                next_action_at=DatabaseNow(),
            )
            run.refresh_from_db(using=runs.db)
            return run
    except IntegrityError:
        error = _already_running(name, using=runs.db)
    raise error


def reserve_job_name(run: JobRun, *, using: str, **changes: Any) -> None:
    """Make a finished run the active one, with these changes; raise AlreadyRunning if another one is."""
    try:
        with transaction.atomic(using=using):
            run.move(RunState.RUNNING, allowed=[RunState.FINISHED], due=NO_DELAY, exclusive=run.job, **changes)
            return
    except IntegrityError:
        error = _already_running(run.job, using=using)
    raise error


def start_job_if_free(name: str, *, label: str = "") -> JobRun | None:
    """Start a run and return it; if one is active already, log that and return None."""
    try:
        return start_job(name, label=label)
    except AlreadyRunning as error:
        logger.warning("Not started: %s", error)
        return None


def _already_running(name: str, *, using: str) -> AlreadyRunning:
    running = JobRun.objects.using(using).filter(exclusive=name).first()
    which = "another run" if running is None else f"run {running}, started {running.started_at:%Y-%m-%d %H:%M} UTC"
    words = f'Job "{name}" is running already: {which}.'
    return AlreadyRunning(f"{words} Wait until it is over, cancel it, or set `allow_overlap = True`.", run=running)
