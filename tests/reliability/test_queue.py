"""How many messages wait where nobody takes them: rows are the queue, and the broker holds little."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches.models import MessageBatch, State
from tests.making import in_state
from tests.reliability.databases import SQLITE
from tests.reliability.servers import Redis
from tests.reliability.site import Site

pytestmark = pytest.mark.process

QUEUE = "reliability"
DUE = 1_000
SOME = 10
TICKS = 10
"""Five minutes of beat's."""


def backlog() -> None:
    """A thousand batches whose results are stored, and that have only to be announced."""
    model = in_state(State.INGESTED, announced_at=None, next_action_at=timezone.now())
    columns = {field.attname: getattr(model, field.attname) for field in MessageBatch._meta.concrete_fields}
    del columns["id"]
    rows = (MessageBatch(**{**columns, "anthropic_id": f"msgbatch_{number}"}) for number in range(1, DUE))
    MessageBatch.objects.bulk_create(rows)
    assert MessageBatch.objects.due().to_advance().count() == DUE


def messages(broker: Redis) -> list[dict[str, Any]]:
    return [json.loads(raw) for raw in broker.say("LRANGE", QUEUE, "0", "-1")]


def let_expire(broker: Redis) -> None:
    """Rewrite the messages as they are when they have waited for too long."""
    found = messages(broker)
    broker.say("DEL", QUEUE)
    for message in found:
        assert message["headers"]["expires"] is not None
        message["headers"]["expires"] = (timezone.now() - timedelta(seconds=1)).isoformat()
    broker.say("RPUSH", QUEUE, *map(json.dumps, found))


@pytest.mark.fault(
    "1,000 due rows and no worker for five minutes",
    "ten ticks of beat's wait in Redis, and nothing else; they are let expire, and a worker is started",
    on=[SQLITE],
)
def test_no_worker(site: Site, broker: Redis, trial: int) -> None:
    backlog()
    beat = site.beat(BEAT_SECONDS="0.3")
    site.until(lambda: len(messages(broker)) >= TICKS)
    beat.terminate()
    beat.wait(timeout=30)
    waiting = messages(broker)
    assert {message["headers"]["task"] for message in waiting} == {"django_claude_batches.tick"}
    assert TICKS <= len(waiting) <= TICKS + 5
    let_expire(broker)
    assert discarded(site, "tick") == len(waiting)


@pytest.mark.fault(
    "1,000 due rows and ten ticks at once",
    "ten ticks are run, as after ten clicks in the admin, and nobody takes what they hand out: one message for each "
    "row; these are let expire, and a worker is started",
    on=[SQLITE],
)
def test_many_ticks(site: Site, broker: Redis, trial: int) -> None:
    backlog()
    run(site, f"[tick() for _ in range({TICKS})]")
    handed_out = [message["headers"]["argsrepr"] for message in messages(broker)]
    assert len(handed_out) == len(set(handed_out)) == DUE
    let_expire(broker)
    assert discarded(site, "advance") == DUE


def discarded(site: Site, task: str) -> int:
    """Let a worker and one fresh tick go on until some rows are announced; give how many messages it threw away."""
    MessageBatch.objects.update(handed_out_at=None)  # as after 20 s, which have passed where messages have expired
    site.worker("--loglevel=INFO")
    run(site, "tick.delay()")
    announced = MessageBatch.objects.filter(announced_at__isnull=False)
    site.until(lambda: announced.count() >= SOME, do=lambda: time.sleep(0.2))
    return site.said().count(f"Discarding revoked task: django_claude_batches.{task}")


def run(site: Site, code: str) -> None:
    process = site.start("-c", f"import django; django.setup(); from django_claude_batches.tasks import tick; {code}")
    assert process.wait(timeout=60) == 0, site.said()
