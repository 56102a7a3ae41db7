"""The number of messages in the broker while no worker takes them: the rows are the queue."""

from __future__ import annotations

import json
import re
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F, Max
from django.utils import timezone

from django_claude_batches.models import MessageBatch, State
from tests.harness.databases import SQLITE
from tests.harness.factories import in_state
from tests.reliability.servers import Redis
from tests.reliability.site import Site

pytestmark = pytest.mark.process

QUEUE = "reliability"
DUE = 1_000
SOME = 10

# The ticks that beat sends in five minutes.
TICKS = 10


def backlog() -> None:
    """Create a thousand batches with stored results, which are only to be announced."""
    model = in_state(State.INGESTED, announced_at=None, next_action_at=timezone.now())
    columns = {field.attname: getattr(model, field.attname) for field in MessageBatch._meta.concrete_fields}
    del columns["id"]
    rows = (MessageBatch(**{**columns, "anthropic_id": f"msgbatch_{number}"}) for number in range(1, DUE))
    MessageBatch.objects.bulk_create(rows)
    assert MessageBatch.objects.due().to_advance().count() == DUE


def messages(broker: Redis) -> list[dict[str, Any]]:
    return [json.loads(raw) for raw in broker.say("LRANGE", QUEUE, "0", "-1")]


@pytest.mark.fault(
    "1,000 due rows and no worker for five minutes",
    "ten ticks of beat's wait in Redis, and nothing else; a worker is started: one of them does the work of all",
    on=[SQLITE],
)
def test_no_worker(site: Site, broker: Redis, trial: int) -> None:
    backlog()
    beat = site.beat(BEAT_SECONDS="0.3", PLAIN_BEAT="")
    site.until(lambda: len(messages(broker)) >= TICKS)
    beat.terminate()
    beat.wait(timeout=30)
    waiting = messages(broker)
    assert {message["headers"]["task"] for message in waiting} == {"django_claude_batches.tick"}
    assert {message["headers"]["expires"] for message in waiting} == {None}
    assert TICKS <= len(waiting) <= TICKS + 5
    a_worker_goes_on(site, ticks=len(waiting))
    assert MessageBatch.objects.aggregate(most=Max("dispatch_count")) == {"most": 1}


@pytest.mark.fault(
    "1,000 due rows and ten ticks at once",
    "ten kicks are run, as after ten clicks in the admin, and no worker takes what they dispatch: one message for each "
    "row; Redis loses these, and a kick sends nothing until 20 seconds have passed; a worker is started",
    on=[SQLITE],
)
def test_many_ticks(site: Site, broker: Redis, trial: int) -> None:
    backlog()
    kick(site, times=TICKS)
    handed_out = [message["headers"]["argsrepr"] for message in messages(broker)]
    assert len(handed_out) == len(set(handed_out)) == DUE
    broker.say("DEL", QUEUE)
    kick(site)
    assert messages(broker) == []
    MessageBatch.objects.update(dispatched_at=F("dispatched_at") - timedelta(seconds=21))
    kick(site)
    assert len(messages(broker)) == DUE
    a_worker_goes_on(site, ticks=0)


def a_worker_goes_on(site: Site, *, ticks: int) -> None:
    """Run a worker until this number of ticks is done, and some rows are announced."""
    site.worker("--loglevel=INFO")
    announced = MessageBatch.objects.filter(announced_at__isnull=False)
    site.until(lambda: announced.count() >= SOME and done(site, "tick") >= ticks, do=lambda: time.sleep(0.2))


def done(site: Site, task: str) -> int:
    return len(re.findall(rf"Task django_claude_batches\.{task}\[\S+ succeeded", site.said()))


def kick(site: Site, times: int = 1) -> None:
    ticks = f"[tasks.tick(**tasks.KICK_KWARGS) for _ in range({times})]"
    code = f"import django; django.setup(); from django_claude_batches import tasks; {ticks}"
    assert site.start("-c", code).wait(timeout=60) == 0, site.said()
