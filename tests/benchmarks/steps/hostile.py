"""Run one of our steps while the answers of one endpoint are hostile: bombs, markup, floods."""

from __future__ import annotations

import argparse
import contextlib
import os

import django

django.setup()

from django_claude_batches import services  # noqa: E402
from django_claude_batches.exceptions import ClaudeBatchesError  # noqa: E402
from django_claude_batches.models import MessageBatch, State  # noqa: E402
from django_claude_batches.services.engine import tick  # noqa: E402
from django_claude_batches.testing import Bend, EmulatorProcess  # noqa: E402
from tests.benchmarks.steps.clock import Clock  # noqa: E402
from tests.benchmarks.steps.requests import Requests  # noqa: E402
from tests.benchmarks.steps.tables import reset  # noqa: E402

BENDS = {
    "bomb": {"body": "bomb", "size": 1_000_000_000},
    "markup": {"body": "markup", "size": 200_000},
    "flood": {"body": "flood", "size": 20_000_000},
}
NOT_TAKEN = {
    "create": {State.UNCERTAIN},
    "list": {State.IN_PROGRESS},
    "retrieve": {State.IN_PROGRESS},
    "results": {State.INCOMPLETE},
}


def prepare(claude: EmulatorProcess, endpoint: str, count: int) -> MessageBatch:
    """Create a batch for which the step is due."""
    reset()
    batch = MessageBatch.objects.create_draft({"custom_id": name, "params": params} for name, params in Requests(count))
    services.submit(batch)
    if endpoint != "create":
        services.advance(batch)
    if endpoint == "results":
        claude.finish()
    return batch


def act(batch: MessageBatch, endpoint: str, other: str) -> None:
    if endpoint in {"create", "results"}:
        services.advance(batch)
    elif endpoint == "list":
        tick(lambda pk: None)
    else:
        with contextlib.suppress(ClaudeBatchesError):
            services.adopt(other)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoint", choices=NOT_TAKEN)
    parser.add_argument("body", choices=BENDS)
    parser.add_argument("--n", type=int, default=1000)
    options = parser.parse_args()
    with EmulatorProcess() as claude:
        os.environ |= {"ANTHROPIC_BASE_URL": claude.url, "ANTHROPIC_API_KEY": claude.api_key}
        batch, other = prepare(claude, options.endpoint, options.n), claude.add_stranger(1)
        claude.bend(Bend(endpoint=options.endpoint, **BENDS[options.body]))
        if options.endpoint == "list":
            MessageBatch.objects.update(next_action_at=batch.created_at)
        clock = Clock()
        act(batch, options.endpoint, other)
        clock.stop()
        batch.refresh_from_db()
        if batch.state not in NOT_TAKEN[options.endpoint] or MessageBatch.objects.count() != 1:
            raise RuntimeError(f"{batch} is {batch.state}: {batch.last_error}")
        if options.endpoint == "results":
            assert options.body == "markup" or batch.results.count() == options.n, batch.last_error
        clock.report(options.n)
