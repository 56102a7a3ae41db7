"""Several processes at the same moment, on each database: two starts make one run, and no queue limit is exceeded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from subprocess import PIPE
from typing import Any

import pytest

from tests.reliability.site import ROOT, Site

pytestmark = pytest.mark.process

PROCESSES = 3
ROUNDS = 8

Script = Callable[..., "subprocess.Popen[str]"]

BEGIN = """
import json, sys, time
import django
django.setup()
from django.conf import settings
from django.db import connection
from django.utils.timezone import now
from django_claude_batches.exceptions import AlreadyRunning
from django_claude_batches.models import JobRun, MessageBatch
from django_claude_batches.services.runs.batch_builder import BatchBuilder
from django_claude_batches.services import submit
from django_claude_batches.services.runs.throttle import submit_pending
from tests.harness.shop import job
from tests.harness.factories import draft
settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {f"account-{number:02}": {} for number in range(ROUNDS)}}
jobs = [job(f"job-{number:02}", account=f"account-{number:02}") for number in range(ROUNDS)]

def ready():
    connection.ensure_connection()
    print("ready", flush=True)
    return float(sys.stdin.readline())

def at(moment):
    time.sleep(max(0, moment - time.time()))
"""

START = """
began = ready()
ends = []
for number, each in enumerate(jobs):
    at(began + number * 0.1)
    try:
        ends.append(["started", each.start().pk])
    except AlreadyRunning as error:
        assert f'Job "{each.name}" is running already: run #{error.run.pk} of ' in str(error), error
        ends.append(["refused", error.run.pk])
print(json.dumps(ends))
"""

DRAFT = """
from django.db.transaction import atomic
from tests.harness.factories import prepared
with atomic():
    for each in jobs:
        for _ in range(3):
            run = JobRun.objects.create(job=each.name, account=each.account, state="running", next_action_at=now())
            filling = BatchBuilder(run, attempt=1, most=10, using="default")
            for position in range(40):
                filling.add(prepared(position), ())
            filling.close()
        submit(draft(7, account=each.account))
"""

RELEASE = """
at(ready())
print(json.dumps(submit_pending(50)))
"""

COUNT = """
from django.db.models import Sum
queued = MessageBatch.objects.filter(state="queued").values_list("account").annotate(Sum("request_count"))
print(json.dumps(dict(queued)))
"""


@pytest.fixture
def script(site: Site) -> Iterator[Script]:
    """Start a process; it is terminated at the end of the test, also if the test fails."""
    environment = os.environ | {
        "DATABASE_URL": site.database_url,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": str(ROOT),
    }
    with ExitStack() as ending:

        def start(code: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-W", "error", "-c", f"ROUNDS = {ROUNDS}{BEGIN}{code}"]
            process = subprocess.Popen(command, env=environment, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
            ending.enter_context(process)
            ending.callback(process.kill)
            return process

        yield start


def said(process: subprocess.Popen[str]) -> Any:
    output, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (0, "")
    return json.loads(output) if output else None


def all_at_once(script: Script, code: str) -> list[Any]:
    processes = [script(code) for _ in range(PROCESSES)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", said(process)
    moment = time.time() + 0.3
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{moment}\n")
        process.stdin.flush()
    return [said(process) for process in processes]


@pytest.mark.fault(
    "Several processes start a job at the same moment",
    f"{PROCESSES} processes, {ROUNDS} jobs: one run of each",
)
def test_two_starts_make_one_run(script: Script, database: str, trial: int) -> None:
    ends = all_at_once(script, START)
    for of_one_job in zip(*ends, strict=True):
        assert sorted(end for end, _run in of_one_job) == [*["refused"] * (PROCESSES - 1), "started"]
        assert len({run for _end, run in of_one_job}) == 1


@pytest.mark.fault(
    "Several processes submit batches of runs at the same moment",
    f"{PROCESSES} processes, {ROUNDS} accounts: no queue is overfull",
)
def test_the_queue_is_never_overfull(script: Script, database: str, trial: int) -> None:
    said(script(DRAFT))
    released = all_at_once(script, RELEASE)
    assert sum(released) == 4 * ROUNDS
    assert Counter(said(script(COUNT)).values()) == {47: ROUNDS}
