"""Suspend a sender (SIGSTOP, as when a laptop or virtual machine sleeps); it continues after others took over."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models import F

from django_claude_batches import services
from django_claude_batches.models import MessageBatch, Outcome, State, SubmitAttempt
from django_claude_batches.services.engine import advance_if_due, tick
from tests.harness.factories import draft, let_ten_minutes_pass
from tests.reliability.kills.gate import Gate
from tests.reliability.site import Site

pytestmark = pytest.mark.process

DEADLINE = 1


def stopped(site: Site, when: Callable[[], bool], **variables: str) -> subprocess.Popen[bytes]:
    """Start a process that sends, and stop it at that moment."""
    sender = site.tick(SEND_DEADLINE=str(DEADLINE), **variables)
    site.until(when)
    os.kill(sender.pid, signal.SIGSTOP)
    assert sender.poll() is None, "the trial is void: it had finished"
    return sender


def wakes_up(sender: subprocess.Popen[bytes], site: Site) -> None:
    os.kill(sender.pid, signal.SIGCONT)
    assert sender.wait(timeout=60) == 0, site.said()


def others_go_on(site: Site) -> None:
    """Expire every lease, and do in this process what is due then."""
    site.let_time_come()
    tick(advance_if_due)
    site.claude.finish()


def is_sent() -> bool:
    return SubmitAttempt.objects.filter(sent_at__isnull=False).exists()


@pytest.mark.fault(
    "A sender is suspended between setting `sent_at` and its create call",
    "SIGSTOP in `connect()`, after `sent_at`; the quiet period is aged, others prove that nothing was received, and "
    "send it; SIGCONT past SEND_DEADLINE",
)
def test_a_sender_suspended_after_setting_sent_at(site: Site, database: str, trial: int) -> None:
    batch = services.submit(draft(3))
    with Gate(site.claude.url, passing=1).serving() as gate:
        sender = stopped(site, lambda: gate.is_closed.is_set() and is_sent(), ANTHROPIC_BASE_URL=gate.url)
        stopped_at = time.monotonic()
        others_go_on(site)
        SubmitAttempt.objects.update(sent_at=F("sent_at") - timedelta(hours=1))
        for _ in range(2):  # two listings, ten minutes apart
            others_go_on(site)
            let_ten_minutes_pass()
        batch.refresh_from_db()
        assert (batch.state, batch.attempts.count()) == (State.IN_PROGRESS, 2)
        assert batch.attempts.get(number=1).outcome == Outcome.NOT_RECEIVED
        time.sleep(max(0.0, stopped_at + DEADLINE + 0.1 - time.monotonic()))
        gate.open()
        wakes_up(sender, site)
    assert len(site.claude.ledger()["creates"]) == 1
    site.until(site.is_complete, do=lambda: others_go_on(site))
    site.check()


@pytest.mark.fault(
    "A sender is suspended before it sets `sent_at`",
    "SIGSTOP while it asks for the baseline; its lease of 5 minutes is aged, others send it; SIGCONT",
)
def test_a_sender_suspended_before_setting_sent_at(site: Site, database: str, trial: int) -> None:
    batch = services.submit(draft(3))
    site.claude.fault("slow_answer", on="list", delay=1)
    sender = stopped(site, SubmitAttempt.objects.exists)
    assert not is_sent()
    for _ in range(2):
        others_go_on(site)
    batch.refresh_from_db()
    assert (batch.state, batch.attempts.count()) == (State.IN_PROGRESS, 2)
    wakes_up(sender, site)
    assert len(site.claude.ledger()["creates"]) == 1
    site.until(site.is_complete, do=lambda: others_go_on(site))
    site.check()


@pytest.mark.fault(
    "A sender is suspended before it stores the answer",
    "SIGSTOP after the batch was made; its lease is aged, others find the batch by its tag and fetch it; SIGCONT",
)
def test_a_sender_suspended_before_storing_the_answer(site: Site, database: str, trial: int) -> None:
    batch = services.submit(draft(3))
    site.claude.fault("slow_answer", on="create", delay=1)
    sender = stopped(site, lambda: site.claude.ledger()["batches"] != [])
    others_go_on(site)
    batch.refresh_from_db()
    assert batch.state == State.UNCERTAIN
    site.until(site.is_complete, do=lambda: others_go_on(site))
    wakes_up(sender, site)
    assert len(site.claude.ledger()["creates"]) == 1
    assert not MessageBatch.objects.filter(events__what="duplicate").exists()
    site.check()
