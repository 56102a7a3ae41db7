"""The main job in a project that has nothing but the wheel: in this process, then by a Celery worker."""

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

import django_claude_batches
from django_claude_batches import services, tasks
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator

SECONDS = 60


def request(number: int) -> dict[str, object]:
    messages = [{"role": "user", "content": f"Hello {number}"}]
    return {"params": {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": messages}}


def expect(batch: MessageBatch, state: State) -> None:
    if batch.state != state:
        sys.exit(f"Batch {batch} is {batch.state}, not {state}: {batch.last_error}")


def in_this_process(claude: ClaudeEmulator) -> None:
    batch = services.submit(MessageBatch.objects.create_draft(map(request, range(20)), kind="journey"))
    expect(services.advance(batch), State.IN_PROGRESS)
    claude.finish()
    expect(services.advance(batch), State.INGESTED)
    texts = [result.text for result in batch.results.succeeded().in_request_order()]
    if len(texts) != 20 or "Hello 7" not in texts[7]:
        sys.exit(f"The results are wrong: {texts}")


def by_a_worker() -> None:
    batch = services.submit(MessageBatch.objects.create_draft(map(request, range(3)), kind="worker"))
    worker = subprocess.Popen([sys.executable, "-m", "celery", "-A", "config", "worker", "--concurrency=1"])
    try:
        until("the worker answers a ping", lambda: app.control.ping(timeout=1))
        tasks.tick.apply_async(expires=SECONDS)
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
with ClaudeEmulator() as claude:
    in_this_process(claude)
    by_a_worker()
print("The journey from the wheel: passed, in one process and by a worker.")
