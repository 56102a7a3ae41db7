from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connections

from django_claude_batches import services
from django_claude_batches.models import JobRun, MessageBatch
from django_claude_batches.services.engine import advance_if_due, tick
from django_claude_batches.services.reconciliation.late_arrivals import watch_due
from tests.harness.factories import draft


class Command(BaseCommand):
    """Fork a process for each order: Django is loaded once, and only children are killed.

    An order is a JSON object on a line of the input; the answer is the child's exit status, -9 if it was killed.
    """

    requires_system_checks = []

    def handle(self, **_options: Any) -> None:
        connections["default"]  # loads the driver; a connection must not be open while it forks
        for line in sys.stdin:
            pid = os.fork()
            if pid == 0:
                os._exit(obey(**json.loads(line)))
            _pid, status = os.waitpid(pid, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)


def obey(verb: str, **arguments: Any) -> int:
    os.dup2(2, 1)  # what it says goes to the log
    try:
        VERBS[verb](**arguments)
    except BaseException:  # noqa: BLE001 (the parent's loop must not go on in the child)
        traceback.print_exc()
        return 1
    return 0


def of_batch(verb: Callable[[MessageBatch], object]) -> Callable[..., object]:
    return lambda pk: verb(MessageBatch.objects.get(pk=pk))


VERBS: dict[str, Callable[..., object]] = {
    # What `manage.py claude_batches tick` does; and what the task does, which leaves the batches to theirs.
    "tick": lambda: (tick(advance_if_due), watch_due()),
    "poll": lambda pk=None: tick(lambda pk: None),
    "watch": lambda pk: watch_due(),
    "adopt": services.adopt,
    "draft": draft,
    "advance": of_batch(services.advance),
    "submit": of_batch(services.submit),
    "cancel": of_batch(services.cancel),
    "delete_remote": of_batch(services.delete_remote),
    "abandon": of_batch(services.abandon),
    "start_job": services.start_job,
    "advance_run": lambda pk: services.advance_run(JobRun.objects.get(pk=pk)),
}
