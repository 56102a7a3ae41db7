"""The watch finds nothing without violations, and finds each kind of violation."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from django_claude_batches import services
from django_claude_batches.client import BatchesClient
from django_claude_batches.models import BatchResult, MessageBatch
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, item, running

from .site import BENT, HEALTHY, KEYS, two_accounts
from .watch import Watch

pytestmark = pytest.mark.django_db


@pytest.fixture
def watch(claude: ClaudeEmulator) -> Iterator[Watch]:
    with two_accounts(claude):
        yield Watch(claude, at_most_once=True)


def kinds(watch: Watch, now: timedelta = timedelta(0)) -> set[str]:
    watch.check(now)
    return {line.partition(":")[0] for line in watch.violations}


def complete(claude: ClaudeEmulator, account: str) -> MessageBatch:
    batch = running(account=account)
    claude.finish()
    return services.advance(batch)


def test_nothing_is_found_without_violations(claude: ClaudeEmulator, watch: Watch) -> None:
    for account in (BENT, HEALTHY):
        complete(claude, account)
    running(account=HEALTHY)
    assert kinds(watch) == set()
    assert kinds(watch, timedelta(days=1)) == set()


@pytest.mark.parametrize("text", ["control: a\x01b", "ValueError: no", "half a character: \x85"])
def test_an_unreadable_error_is_found(watch: Watch, text: str) -> None:
    MessageBatch.objects.filter(pk=draft(account=BENT).pk).update(last_error=text)
    assert kinds(watch) == {"unreadable"}


def test_a_result_that_is_gone(claude: ClaudeEmulator, watch: Watch) -> None:
    batch = complete(claude, BENT)
    assert kinds(watch) == set()
    BatchResult.objects.filter(batch=batch, custom_id="r-1").delete()
    assert kinds(watch) == {"lost"}


def test_an_id_that_is_gone(watch: Watch) -> None:
    batch = running(account=BENT)
    assert kinds(watch) == set()
    batch.attempts.update(remote_id=None)
    MessageBatch.objects.filter(pk=batch.pk).update(anthropic_id="msgbatch_another")
    assert kinds(watch) == {"lost"}


def test_a_healthy_batch_that_was_not_sent(watch: Watch) -> None:
    services.submit(draft(account=HEALTHY))
    assert kinds(watch) == {"late"}


def test_healthy_results_that_are_not_stored(claude: ClaudeEmulator, watch: Watch) -> None:
    running(account=HEALTHY)
    claude.finish()
    assert kinds(watch) == set()
    assert kinds(watch, timedelta(hours=1)) == {"late"}


def test_a_batch_that_was_paid_twice(claude: ClaudeEmulator, watch: Watch) -> None:
    batch = running(1, account=BENT)
    client = BatchesClient(api_key=KEYS[BENT], base_url=claude.url)
    client.create([{**item(0), "custom_id": f"{batch.attempts.get().tag}_r-0"}])
    client.close()
    assert kinds(watch) == {"paid twice"}
