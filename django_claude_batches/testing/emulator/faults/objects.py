"""Faults in the MessageBatch objects of an answer: in one batch, or in each batch of a page."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from django_claude_batches.testing.emulator.http_messages import Response, encoded

from .context import Turn, faults


def foreign_results_url(turn: Turn, *, to: str = "http://elsewhere.invalid") -> Response:
    """Set `results_url` to another host, `to`: a client that follows it sends the key there (§11)."""

    def change(batch: dict[str, Any]) -> None:
        if batch["results_url"]:
            batch["results_url"] = to + urlsplit(batch["results_url"]).path

    return _changed(turn.answer(), change)


def wrong_counts(
    turn: Turn, *, processing: int = 0, succeeded: int = 1, errored: int = 0, canceled: int = 0, expired: int = 0
) -> Response:
    """Add these numbers to `request_counts`, so that they differ from the lines (by default one succeeded too many)."""
    added = {
        "processing": processing,
        "succeeded": succeeded,
        "errored": errored,
        "canceled": canceled,
        "expired": expired,
    }

    def change(batch: dict[str, Any]) -> None:
        batch["request_counts"] = {name: count + added[name] for name, count in batch["request_counts"].items()}

    return _changed(turn.answer(), change)


def unknown_status(turn: Turn, *, status: str = "paused") -> Response:
    """Set an unknown `processing_status` (§11)."""
    return _changed(turn.answer(), lambda batch: batch.update(processing_status=status))


def _changed(answer: Response, change: Callable[[dict[str, Any]], None]) -> Response:
    if answer.status != 200 or not isinstance(answer.body, bytes):
        return answer
    document = json.loads(answer.body)
    for batch in document.get("data", [document]):
        change(batch)
    return replace(answer, body=encoded(document))


FAULTS = faults(("retrieve", "list"), foreign_results_url, wrong_counts, unknown_status)
