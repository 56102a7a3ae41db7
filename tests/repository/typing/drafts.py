"""Code as users write it, which `mypy --strict` accepts. Checked in the lane `types`, never run."""

from __future__ import annotations

from collections.abc import Iterator

from django_claude_batches.models import DraftRequest, MessageBatch


def plain(text: str) -> dict[str, object]:
    return {"custom_id": "1", "params": {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [text]}}


def typed(text: str) -> DraftRequest:
    return {"params": {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [text]}}


def generated() -> Iterator[dict[str, object]]:
    yield plain("generated")


MessageBatch.objects.create_draft(map(plain, ["a", "b"]))
MessageBatch.objects.create_draft(map(typed, ["a", "b"]))
MessageBatch.objects.create_draft(generated(), kind="tags")
MessageBatch.objects.create_draft(
    [{"params": {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}}]
)
