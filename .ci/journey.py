"""Run the tutorial's batch in a project that has only the wheel installed: in this process, then by a Celery worker."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import django

django.setup()

from config.celery import app
from reviews.models import Review
from reviews.tagging import tag_reviews
from reviews.tests import test_reviews_get_their_tags

import django_claude_batches
from django_claude_batches import tasks
from django_claude_batches.models import MessageBatch
from django_claude_batches.testing import ClaudeEmulator

SECONDS = 60


def by_a_worker() -> None:
    Review.objects.create(text="Warm, and it does not itch.")
    batch = tag_reviews()
    worker = subprocess.Popen([sys.executable, "-m", "celery", "-A", "config", "worker", "--concurrency=1"])
    try:
        until("the worker answers a ping", lambda: app.control.ping(timeout=1))
        tasks.tick.apply_async(kwargs=tasks.KICK_KWARGS)
        until("the worker sends the batch", lambda: MessageBatch.objects.running().filter(pk=batch.pk).exists())
        worker.send_signal(signal.SIGTERM)
        code = worker.wait(timeout=SECONDS)
    finally:
        worker.kill()
    if code:
        sys.exit(f"The worker exited {code}.")


def until(what: str, done: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + SECONDS
    while not done():
        if time.monotonic() > give_up_at:
            sys.exit(f"After {SECONDS} seconds this did not happen: {what}.")
        time.sleep(0.2)


if Path(sys.prefix) not in Path(django_claude_batches.__file__).parents:
    sys.exit(f"Not the wheel: {django_claude_batches.__file__}")
test_reviews_get_their_tags(None)
with ClaudeEmulator():
    by_a_worker()
print("The journey from the wheel: passed, in one process and by a worker.")
