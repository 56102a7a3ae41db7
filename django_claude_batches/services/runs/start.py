from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from django_claude_batches import conf, job_registry
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.exceptions import AlreadyRunning, UnknownJob
from django_claude_batches.models import JobRun, RunState
from django_claude_batches.models.event import user_name
from django_claude_batches.sanitize import get_logger

logger = get_logger(__name__)


def start_job(name: str, *, label: str = "", by: Any = None, skip_unaskable: bool = False) -> JobRun:
    """Start a run of the job; a worker drafts its rows and sends them. No HTTP: inside your transaction, the row is
    the outbox. With `skip_unaskable`, rows that cannot be asked are left out of it and counted; otherwise the first one
    pauses it, unless the job's class sets `skip_unaskable`.

    Raise UnknownJob for a name that this process does not know, AlreadyRunning while the job is running (of two starts
    at one moment, one gets the run), and ConfigurationError for an account that the settings do not know.
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
        running = runs.filter(exclusive=name).first()
    raise AlreadyRunning(_refusal(name, running), run=running)


def reserve_job_name(run: JobRun, *, using: str, **changes: Any) -> None:
    """Make a finished run the one that runs, with these changes; raise AlreadyRunning where another one does."""
    try:
        with transaction.atomic(using=using):
            run.change([RunState.FINISHED], exclusive=run.job, **changes)
            return
    except IntegrityError:
        running = JobRun.objects.using(using).filter(exclusive=run.job).first()
    raise AlreadyRunning(_refusal(run.job, running), run=running)


def start_job_if_free(name: str, *, label: str = "") -> JobRun | None:
    """Start a run unless the job is running; then say so in the log, and give None."""
    try:
        return start_job(name, label=label)
    except AlreadyRunning as error:
        logger.warning("Not started: %s", error)
        return None


def get_job(name: str) -> job_registry.Job:
    """Give the job; raise UnknownJob, naming those that are known."""
    job = job_registry.find(name)
    if job is None:
        raise UnknownJob(f"{job_registry.unknown_job_message(name)} A job stands in an app's module claude_jobs.")
    return job


def _refusal(name: str, running: JobRun | None) -> str:
    which = "another run" if running is None else f"run {running}, started {running.started_at:%Y-%m-%d %H:%M} UTC"
    return f'Job "{name}" is running already: {which}. Wait until it is over, cancel it, or set `allow_overlap = True`.'
