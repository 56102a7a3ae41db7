"""The check finds nothing without violations, and finds each kind of violation."""

from __future__ import annotations

import pytest

from django_claude_batches import services
from django_claude_batches.client import BatchesClient
from django_claude_batches.models import BatchResult, MessageBatch, SubmitAttempt
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import item, running
from tests.reliability.soak.check import Findings, check

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def complete(claude: ClaudeEmulator) -> MessageBatch:
    batch = running()
    claude.finish()
    return services.advance(batch)


def counted(findings: Findings) -> tuple[int, int, int]:
    return len(findings.duplicates), len(findings.lost), len(findings.stuck)


def made_again(claude: ClaudeEmulator, tag: str) -> None:
    client = BatchesClient(api_key=claude.api_key, base_url=claude.url)
    client.create([{**item(0), "custom_id": f"{tag}_r-0"}])
    client.close()


def test_nothing_is_found_without_violations(claude: ClaudeEmulator) -> None:
    complete(claude)
    claude.add_stranger(3)
    findings = check(claude.ledger())
    assert (counted(findings), findings.violations, findings.explained) == ((0, 0, 0), 0, {})


def test_a_batch_that_was_made_twice(claude: ClaudeEmulator) -> None:
    batch = complete(claude)
    made_again(claude, batch.attempts.get().tag)
    duplicates, lost, _stuck = counted(check(claude.ledger()))
    assert (duplicates, lost) == (1, 1)


def test_a_second_attempt_that_made_one_too(claude: ClaudeEmulator) -> None:
    batch = complete(claude)
    first = batch.attempts.get()
    SubmitAttempt.objects.create(batch=batch, number=2, tag="asecondattem", recorded_at=first.recorded_at)
    made_again(claude, "asecondattem")
    findings = check(claude.ledger())
    assert f"batch {batch.pk} was made 2 times" in findings.duplicates[0]


def test_a_result_that_is_gone(claude: ClaudeEmulator) -> None:
    batch = complete(claude)
    BatchResult.objects.filter(batch=batch, custom_id="r-1").delete()
    assert "sent and not stored: {'r-1'}" in check(claude.ledger()).lost[0]


def test_another_requests_answer(claude: ClaudeEmulator) -> None:
    batch = complete(claude)
    first, second = batch.requests.order_by("pk")[:2]
    BatchResult.objects.filter(request=first).update(message=BatchResult.objects.get(request=second).message)
    assert "has another's answer" in check(claude.ledger()).lost[0]


def test_a_batch_that_was_lost_unrequested(claude: ClaudeEmulator) -> None:
    batch = complete(claude)
    MessageBatch.objects.filter(pk=batch.pk).update(state="lost", ingested_at=None, announced_at=None)
    assert "nobody deleted it" in check(claude.ledger()).lost[0]


def test_a_batch_that_still_runs(claude: ClaudeEmulator) -> None:
    running()
    assert counted(check(claude.ledger())) == (0, 0, 1)
