"""Serve results slowly, so that faults can happen while they are stored."""

from __future__ import annotations

from django_claude_batches.models import MessageBatch
from tests.harness.factories import running
from tests.reliability.site import Site

# Requests: three chunks of results.
MANY = 5_000


def about_to_be_fetched(site: Site, *, pause: float = 0.1) -> MessageBatch:
    """Give a batch that has ended, is due, and whose results take about 35 times `pause` seconds to come."""
    batch = running(MANY)
    site.claude.finish()
    site.claude.fault("trickle", on="results", piece_bytes=65_536, pause=pause)
    site.let_time_come()
    return batch


def until_in_mid_ingest(site: Site, batch: MessageBatch) -> None:
    """Wait until some of the batch's results are rows, and not all."""
    site.until(lambda: site.stored(batch) > 0)
    assert_in_mid_ingest(site, batch)


def assert_in_mid_ingest(site: Site, batch: MessageBatch) -> None:
    """AssertionError if nothing is stored yet, or all: a trial at that time would show nothing."""
    stored = site.stored(batch)
    assert 0 < stored < batch.request_count, f"the trial is void: {stored} of {batch.request_count} stored"


def complete_and_check(site: Site, *, seconds: float = 60) -> None:
    """Let it go on by itself, but for waiting: what is due later is due now, again and again."""
    site.until(site.is_complete, do=site.let_due_times_come, seconds=seconds)
    site.check()
