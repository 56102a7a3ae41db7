"""Poll all batches in flight: by one listing, or by one GET each."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from datetime import timedelta

import django
import requests

django.setup()

from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402
from django.utils.dateparse import parse_datetime  # noqa: E402

from django_claude_batches import wire  # noqa: E402
from django_claude_batches.client import BatchesClient  # noqa: E402
from django_claude_batches.models import MessageBatch, State  # noqa: E402
from django_claude_batches.services.engine import tick  # noqa: E402
from tests.benchmarks.steps.clock import Clock  # noqa: E402

PAST = timedelta(hours=1)


def row(data: wire.MessageBatch) -> MessageBatch:
    """Create the row of a batch that was submitted and is due for a poll."""
    now = timezone.now()
    return MessageBatch(
        state=State.IN_PROGRESS,
        anthropic_id=data["id"],
        processing_status=data["processing_status"],
        request_count=data["request_counts"]["processing"],
        created_at=parse_datetime(data["created_at"]),
        queued_at=now - PAST,
        next_action_at=now - PAST,
    )


def by_tick(_url: str, ids: list[str]) -> Callable[[], object]:
    return lambda: tick(lambda pk: None)


def by_list(url: str, ids: list[str]) -> Callable[[], object]:
    client = BatchesClient(api_key="any", base_url=url)
    return lambda: list(client.list_all())


def by_gets(url: str, ids: list[str]) -> Callable[[], object]:
    session = requests.Session()
    return lambda: [session.get(f"{url}/v1/messages/batches/{name}").json() for name in ids]


def asked(url: str) -> int:
    """Return the number of requests that the stub received, without this one."""
    return int(requests.get(f"{url}/_stub/asked", timeout=10).json()["asked"])


if __name__ == "__main__":
    ways = {"tick": by_tick, "list": by_list, "gets": by_gets}
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=ways)
    options = parser.parse_args()
    url = os.environ["ANTHROPIC_BASE_URL"]
    connection.ensure_connection()
    there = list(BatchesClient(api_key="any", base_url=url).list_all())
    if not MessageBatch.objects.exists():
        MessageBatch.objects.bulk_create(row(data) for data in there)
    MessageBatch.objects.update(next_action_at=timezone.now() - PAST)
    look = ways[options.way](url, [data["id"] for data in there])
    before = asked(url)
    clock = Clock()
    look()
    clock.stop()
    clock.report(len(there), requests=asked(url) - before)
    if options.way == "tick":
        unseen = MessageBatch.objects.filter(next_action_at__lt=timezone.now() - PAST / 2).count()
        assert unseen == 0, f"{unseen} were not seen"
