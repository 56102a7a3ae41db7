"""What the tests start from."""

from __future__ import annotations

from typing import Any

from django_claude_batches.models import MessageBatch


def item(number: int, **params: Any) -> dict[str, Any]:
    body = {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": f"Hello {number}"}]}
    return {"custom_id": f"r-{number}", "params": {**body, **params}}


def draft(count: int = 3, **options: Any) -> MessageBatch:
    return MessageBatch.objects.create_draft((item(number) for number in range(count)), **options)
