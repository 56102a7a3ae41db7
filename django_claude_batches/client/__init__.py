"""A client for the Message Batches API that does not need Django."""

from __future__ import annotations

from django_claude_batches.client.batches import BatchesClient
from django_claude_batches.client.jsonl import Line
from django_claude_batches.client.transport import Reply

__all__ = ["BatchesClient", "Line", "Reply"]
