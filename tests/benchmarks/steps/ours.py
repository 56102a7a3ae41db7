"""Our steps, through the package's public API."""

from __future__ import annotations

import argparse
import cProfile
import io
import pstats
import re
import sys

import django

django.setup()

from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from django_claude_batches import services  # noqa: E402
from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch, State  # noqa: E402
from tests.benchmarks.steps.clock import Clock  # noqa: E402
from tests.benchmarks.steps.requests import Requests  # noqa: E402
from tests.benchmarks.steps.tables import UNFETCHED, reset  # noqa: E402

# The number of functions that a profile shows.
MOST_CALLS = 15


def draft(count: int) -> None:
    requests = Requests(count)
    clock = Clock()
    batch = MessageBatch.objects.create_draft({"custom_id": name, "params": params} for name, params in requests)
    clock.stop()
    clock.report(batch.request_count)


def submit(batch: MessageBatch) -> None:
    clock = Clock()
    services.advance(services.submit(batch))
    clock.stop()
    expect(batch, State.IN_PROGRESS)
    clock.report(batch.request_count, batch=batch.pk, remote=batch.anthropic_id)


def ingest(batch: MessageBatch) -> None:
    """Ingest: from the poll that finds the batch ended to the last announcement."""
    clock = Clock()
    services.advance(batch)
    clock.stop()
    clock.report(batch.request_count)
    expect(batch, State.INGESTED)
    assert batch.results.count() == batch.request_count, "rows are missing"


def profile(batch: MessageBatch) -> None:
    """Ingest under Python's profiler, which adds time to each function call."""
    profiler = cProfile.Profile()
    clock = Clock()
    profiler.runcall(services.advance, batch)
    clock.stop()
    expect(batch, State.INGESTED)
    shown = io.StringIO()
    pstats.Stats(profiler, stream=shown).sort_stats("tottime").print_stats(MOST_CALLS)
    lines = [line.strip() for line in shown.getvalue().splitlines() if line.strip()]
    clock.report(batch.request_count, profile=[re.sub(r"/\S*/(?=[^/]+/[^/]+:\d)", "", line) for line in lines[2:]])


def resume(batch: MessageBatch) -> None:
    """Fetch a batch again whose results are all stored, like a process that takes over from a killed one."""
    ended = MessageBatch.objects.filter(pk=batch.pk)
    assert ended.update(state=State.ENDED, next_action_at=timezone.now(), **UNFETCHED) == 1
    before = stored_bytes()
    clock = Clock()
    services.advance(batch)
    clock.stop()
    clock.report(batch.request_count, grown=stored_bytes() - before)
    expect(batch, State.INGESTED)


def expect(batch: MessageBatch, state: State) -> None:
    if batch.state != state or batch.missing_count:
        raise RuntimeError(f"{batch} is {batch.state}, {batch.missing_count} missing: {batch.last_error}")


def stored_bytes() -> int:
    """Return the bytes of the tables of requests and results with their indexes, or 0 if not known."""
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        tables = [BatchRequest._meta.db_table, BatchResult._meta.db_table]
        cursor.execute("SELECT sum(pg_total_relation_size(name)) FROM unnest(%s::regclass[]) AS name", [tables])
        return int(cursor.fetchone()[0])


def go_when_told() -> None:
    """Report that the setup is done, and wait for a line, so that two processes begin at the same time."""
    print("ready", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    steps = {"submit": submit, "ingest": ingest, "profile": profile, "resume": resume}
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=["draft", *steps])
    parser.add_argument("--n", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="empty the tables first")
    parser.add_argument("--batch", type=int, help="primary key; the newest")
    parser.add_argument("--wait", action="store_true", help="say ready, and begin with the next line of input")
    options = parser.parse_args()
    connection.ensure_connection()
    if options.fresh:
        reset()
    batches = MessageBatch.objects.order_by("pk")
    batch = batches.filter(pk=options.batch).get() if options.batch else batches.last()
    if options.wait:
        go_when_told()
    if options.step == "draft":
        draft(options.n)
    else:
        assert batch is not None, "there is no batch"
        steps[options.step](batch)
