"""Machines with wrong clocks, and each scheduler of beat: messages do not depend on clocks."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from importlib.util import find_spec
from typing import Any

import pytest

from django_claude_batches import services
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.services.doctor.report import CheckResult
from tests.conftest import GATE
from tests.harness.databases import POSTGRES
from tests.harness.factories import draft
from tests.reliability.servers import Redis
from tests.reliability.site import Site

pytestmark = pytest.mark.process

# Seconds: more than the 30 between two ticks.
AHEAD = 40

# Debian's package and its command. On SQLite the database would use the worker's clock.
FAKETIME = "faketime"

NEEDS_DATABASE_SCHEDULER = pytest.mark.skipif(
    find_spec("django_celery_beat") is None, reason="django-celery-beat is not installed: the lane `schedulers` has it"
)


def off_by(seconds: int, request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the environment of a process whose wall clock is this far ahead, or behind if negative."""
    request.config.stash[GATE].need_that(shutil.which(FAKETIME) is not None, FAKETIME, "it is not installed")
    shift = f"{seconds:+d}s"
    library = subprocess.check_output([FAKETIME, "-m", "-f", shift, "printenv", "LD_PRELOAD"], text=True).strip()
    return {"LD_PRELOAD": library, "FAKETIME": shift, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@pytest.mark.fault(
    "A worker's clock is 40 s ahead of the others', or behind",
    "libfaketime under a Celery worker, with beat's own scheduler and with django-celery-beat's DatabaseScheduler; "
    "what beat sent while there was no worker waits in Redis",
    on=[POSTGRES],
)
@pytest.mark.parametrize("off", [AHEAD, -AHEAD])
@pytest.mark.parametrize(
    "scheduler", [{}, pytest.param({"DATABASE_SCHEDULER": ""}, marks=NEEDS_DATABASE_SCHEDULER)], ids=["own", "database"]
)
def test_a_worker_takes_its_ticks(
    site: Site, broker: Redis, trial: int, off: int, scheduler: dict[str, str], request: pytest.FixtureRequest
) -> None:
    clock = off_by(off, request)
    batch = services.submit(draft(3))
    assert site.start("-m", "django", "migrate", **scheduler).wait(timeout=60) == 0, site.said()
    schedule = [] if scheduler else [f"--schedule={site.folder}/beat"]
    site.start(
        "-m",
        "celery",
        "-A",
        "tests.reliability.project.celery",
        "beat",
        "--loglevel=INFO",
        *schedule,
        PLAIN_BEAT="",
        **scheduler,
    )
    site.until(lambda: int(broker.say("LLEN", "reliability")) >= 3, do=lambda: time.sleep(0.2))
    messages = [json.loads(raw)["headers"] for raw in broker.say("LRANGE", "reliability", "0", "-1")]
    assert {(headers["argsrepr"], headers["kwargsrepr"], headers["expires"]) for headers in messages} == {
        ("()", "{}", None)
    }
    assert ("DatabaseScheduler" in site.said()) == bool(scheduler)
    site.worker(**clock)
    site.until(lambda: state_of(batch) == State.IN_PROGRESS, do=lambda: time.sleep(0.2))
    found = {one.name: one for one in services.diagnose(offline=True)}
    assert found["worker_clock"].verdict == CheckResult.WARNING
    ahead_or_behind = "ahead of" if off > 0 else "behind"
    assert ahead_or_behind in found["worker_clock"].words
    assert found["tick"].verdict == CheckResult.OK


def state_of(batch: MessageBatch) -> Any:
    return MessageBatch.objects.get(pk=batch.pk).state
