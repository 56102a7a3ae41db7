"""256,000,000 bytes go out as one create call; with one more, nothing does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType

from django_claude_batches import services, wire
from django_claude_batches.drafting.body import BodySize
from django_claude_batches.drafting.request import check
from django_claude_batches.exceptions import LimitExceeded
from django_claude_batches.models import MessageBatch, State
from tests.benchmarks.stub.process import stub

pytestmark = [pytest.mark.django_db, pytest.mark.process]

PAGE = "x" * 8_000_000


def item(text: str) -> dict[str, Any]:
    return {"params": {"model": "claude-haiku-4-5", "max_tokens": 1, "messages": [{"role": "user", "content": text}]}}


def items(body_bytes: int) -> Iterator[dict[str, Any]]:
    """Give 32 requests, whose body has so many bytes."""
    tally = BodySize()
    for position in range(31):
        tally.add(check(item(PAGE), position, ContentType.objects).encoded())
        yield item(PAGE)
    tally.add(check(item(""), 31, ContentType.objects).encoded())
    yield item("x" * (body_bytes - tally.bytes))


def test_the_largest_batch_is_sent_and_one_byte_more_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with stub() as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "any")
        with pytest.raises(LimitExceeded, match="256,000,001 bytes") as caught:
            MessageBatch.objects.create_draft(items(wire.MAX_BODY_BYTES + 1))
        assert (caught.value.position, caught.value.custom_id) == (31, "31")
        assert not MessageBatch.objects.exists()
        assert server.asked() == 0

        batch = MessageBatch.objects.create_draft(items(wire.MAX_BODY_BYTES))
        services.advance(services.submit(batch))
        assert batch.state == State.IN_PROGRESS, batch.last_error
        assert batch.attempts.get().body_bytes == wire.MAX_BODY_BYTES == 256_000_000
