"""One run of the main job: its processes, and the rows it watches. It moves nothing itself: the worker does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from config.celery import app
from django.core.management import CommandError
from django.utils import timezone
from kombu.exceptions import OperationalError

from demo.display import Display
from demo.endpoint import EMULATOR
from demo.errand import Errand
from demo.processes import Processes
from django_claude_batches.models import AccountState, State
from django_claude_batches.models.batch_state import RUNNING

TICK_SECONDS = 2
"""Beat's interval here; 30 in real life."""

EMULATED_SECONDS = 5
"""How long a batch takes at the emulator. Without `check_finished` it would be polled after 30 s, as at the API."""

QUEUE = "claude-batches-demo"
"""A queue of its own: a worker left running elsewhere must not take these tasks to another emulator."""

CONNECTING = 5
"""Seconds for the broker to answer."""

LOOK = 0.25
"""Seconds between two looks at the rows."""


@contextlib.contextmanager
def alone(var: Path) -> Iterator[None]:
    """Let only one demo run at a time in this folder; raise CommandError for the second."""
    with (var / "demo.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CommandError(f"Another demo is running in {var}: wait for it, or set DEMO_VAR.") from None
        yield


def check_broker() -> None:
    """Raise CommandError if the broker does not answer: a worker would wait for it for a long time."""
    problem = ""
    with app.connection_for_write(connect_timeout=CONNECTING) as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECTING)
        except (OSError, OperationalError) as error:
            problem = f"The broker at {connection.as_uri()} does not answer: {error}"
    if problem:
        raise CommandError(problem)


def environment(base_dir: Path) -> dict[str, str]:
    """Give what the processes find in their environment, beside ours."""
    paths = [str(base_dir), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"],
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "DEMO_QUEUE": QUEUE,
        "DEMO_TICK_SECONDS": os.environ.get("DEMO_TICK_SECONDS", str(TICK_SECONDS)),
    }


def start_emulator(processes: Processes, env: dict[str, str]) -> str:
    """Start the emulator, and give its URL when it answers."""
    taking = ["--port", "0", "--seconds", str(EMULATED_SECONDS), "--replies", "demo.claude:answer"]
    return processes.start("emulator", ["-m", "django_claude_batches.testing", *taking], env).first_line()


def start_celery(processes: Processes, env: dict[str, str], *, var: Path, concurrency: int) -> None:
    """Start a real worker and a real beat."""
    celery = ["-m", "celery", "-A", "config"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO"]
    # A name of its own: RabbitMQ lets no two workers of one name in.
    name = ["--hostname", f"demo-{os.getpid()}@%h"]
    processes.start("worker", [*celery, "worker", *name, "--concurrency", str(concurrency), *quiet], env)
    schedule = ["--schedule", str(var / "beat-schedule"), "--pidfile", ""]
    processes.start("beat", [*celery, "beat", *schedule, "--loglevel", "INFO"], env)


def watch(errand: Errand, processes: Processes, display: Display, *, timeout: float) -> None:
    """Show the errand until it is over; raise ProcessDied, or CommandError where it cannot be or after `timeout`."""
    give_up_at = time.monotonic() + timeout
    is_emulated = errand.account == EMULATOR
    while True:
        now = errand.look()
        display.show(now._replace(label=now.label.replace("at Anthropic", "at the emulator")) if is_emulated else now)
        if is_emulated:
            check_finished(errand)
        if errand.is_over():
            return
        if (account := _paused(errand)) is not None:
            raise CommandError(f"Nothing is sent for account {account.alias}: {account.pause_reason}")
        if time.monotonic() > give_up_at:
            raise CommandError(f"Still {now.label} after {timeout:g} s. {_last_error(errand) or 'See the logs.'}")
        processes.check()
        time.sleep(LOOK)


def check_finished(errand: Errand) -> None:
    """Make the batches due that the emulator has finished, as *Check now* in the admin does."""
    now = timezone.now()
    finished = errand.batches().filter(
        state__in=RUNNING, next_action_at__gt=now, created_at__lt=now - timedelta(seconds=EMULATED_SECONDS + 1)
    )
    for batch in finished:
        batch.record_intent(RUNNING)


def _paused(errand: Errand) -> AccountState | None:
    if not errand.batches().filter(state=State.QUEUED).exists():
        return None
    return AccountState.objects.paused().filter(alias=errand.account).first()


def _last_error(errand: Errand) -> str:
    batch = errand.batches().exclude(last_error="").first()
    return "" if batch is None else batch.last_error
