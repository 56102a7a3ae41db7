"""Run a whole job within a test, in this process: draft its rows, send them to the emulator, and deliver the results.

A separate module because it imports Django and the services, which the emulator must not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from django_claude_batches import conf, job_registry, services
from django_claude_batches.models import AccountState, DeliveryChunk, FailedDelivery, JobRun, MessageBatch
from django_claude_batches.models.batch_state import FINAL

from .emulator import ClaudeEmulator
from .emulator.replies import Replies
from .process import EmulatorProcess

Claude = ClaudeEmulator | EmulatorProcess

# Consecutive days without a change after which the run counts as stuck.
PATIENCE = 3


class RunFailed(AssertionError):
    """A run did not finish, or the job's own code raised; the message says where and why."""


def run_job(
    job: type[job_registry.Job],
    claude: Claude | None = None,
    *,
    replies: Replies | None = None,
    label: str = "",
    allow_failed_deliveries: bool = False,
) -> JobRun:
    """Start the job and drive its run to the end, including retries; return the run.

    `claude` is an entered emulator. By default a new one answers with `replies` (an echo, or small JSON that fits the
    job's schema).

    Commits, and sends HTTP requests to the emulator. Raises RunFailed if the run is paused or stuck, if `on_finished`
    raised, or if a handler raised and `allow_failed_deliveries` is false; before anything is sent, if the job's account
    does not use the emulator. Raises TypeError if both `claude` and `replies` are given.
    """
    if claude is not None and replies is not None:
        raise TypeError("give an emulator or its replies, not both: ClaudeEmulator(replies=…)")
    with _entered(claude, replies) as answering:
        _refuse_another_host(job, answering)
        run = services.start_job(job.name, label=label)
        _take_to_the_end(run, answering)
    if run.last_error:
        raise RunFailed(f"Run {run}: {run.last_error}")
    failed = FailedDelivery.objects.primary().filter(batch__run=run).order_by("pk")
    if not allow_failed_deliveries and (first := failed.first()) is not None:
        raise RunFailed(f"Run {run}: a handler raised for {failed.count():,} rows. The first:\n{first.traceback}")
    return run


@contextlib.contextmanager
def _entered(claude: Claude | None, replies: Replies | None) -> Iterator[Claude]:
    if claude is not None:
        yield claude
        return
    with ClaudeEmulator(replies=replies) as own:
        yield own


def _refuse_another_host(job: type[job_registry.Job], claude: Claude) -> None:
    url = conf.account(job.account).base_url
    if url.rstrip("/") != claude.url:
        raise RunFailed(
            f'Nothing was sent: account "{job.account}" is at {url}, and the emulator at {claude.url}. Leave its '
            "BASE_URL out of the settings of your tests."
        )


def _take_to_the_end(run: JobRun, claude: Claude) -> None:
    """Advance the clock by days until the run is over; raise RunFailed if that changes nothing."""
    seen: list[list[object]] = []
    while services.advance_run(run).is_active:
        if run.is_paused:
            raise RunFailed(f"Run {run} was paused: {run.pause_reason}")
        seen = [*seen[-PATIENCE:], _standing(run)]
        if len(seen) > PATIENCE and seen.count(seen[-1]) == len(seen):
            raise RunFailed(f"Run {run} is stuck. {_obstacle(run)}")
        claude.finish()


def _standing(run: JobRun) -> list[object]:
    batches = MessageBatch.objects.primary().filter(run=run).order_by("pk")
    chunks = DeliveryChunk.objects.primary().filter(batch__run=run).order_by("pk")
    return [run.state, *batches.values_list("pk", "state"), *chunks.values_list("pk", "position", "done_at")]


def _obstacle(run: JobRun) -> str:
    """Return why the run does not continue: the states and errors of its account, batches and deliveries."""
    paused = AccountState.objects.primary().paused().filter(alias=run.account)
    said = [f'Account "{account.alias}" is paused: {account.pause_reason}' for account in paused]
    batches = MessageBatch.objects.primary().filter(run=run).exclude(state__in=FINAL).order_by("pk")
    said += [f"Batch {each}: {each.get_state_display()}. {each.explanation} {each.last_error}" for each in batches]
    chunks = DeliveryChunk.objects.primary().undone().filter(batch__run=run).order_by("pk")
    said += [f"Delivery of {chunk}: {chunk.last_error}" for chunk in chunks]
    return "\n".join(said) or "All its batches and deliveries are complete."
