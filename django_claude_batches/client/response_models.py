"""Validate the API's objects, and fill in missing keys; None for what is not one.

Every key that the API sends is kept, known or not. A value of another type than the API's counts as missing. Only the
id is validated beyond that.
"""

from __future__ import annotations

from typing import Any, TypeGuard, cast

from django_claude_batches.wire import BATCH_ID_PATTERN, DeletedMessageBatch, MessageBatch, Page, ResultLine

NO_COUNTS = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
TEXTS = ("processing_status", "created_at", "expires_at")
NULLABLE = ("ended_at", "archived_at", "cancel_initiated_at", "results_url")
MISSING_VALUES: dict[str, Any] = dict.fromkeys(TEXTS, "") | dict.fromkeys(NULLABLE)


def message_batch(data: object) -> MessageBatch | None:
    """Read a batch. Missing counts become 0, missing texts empty, the nullable ones None."""
    if not _has_batch_id(data):
        return None
    counts = data.get("request_counts")
    known = {key: value for key, value in counts.items() if type(value) is int} if isinstance(counts, dict) else {}
    texts = {key: data[key] if isinstance(data.get(key), str) else missing for key, missing in MISSING_VALUES.items()}
    return cast("MessageBatch", {**data, **texts, "request_counts": {**NO_COUNTS, **known}})


def page(data: object) -> Page | None:
    """Read a page of batches; None if one of them is not a batch."""
    if not isinstance(data, dict) or not isinstance(data.get("data"), list):
        return None
    batches = [message_batch(item) for item in data["data"]]
    if None in batches:
        return None
    empty = {"has_more": False, "first_id": None, "last_id": None}
    return cast("Page", empty | data | {"data": batches})


def deleted(data: object) -> DeletedMessageBatch | None:
    """Read the confirmation of a delete."""
    return cast("DeletedMessageBatch", data) if _has_batch_id(data) else None


def result_line(data: object) -> ResultLine | None:
    """Read one line of results. Unknown types of result are accepted."""
    if not isinstance(data, dict) or not isinstance(data.get("custom_id"), str):
        return None
    result = data.get("result")
    return cast("ResultLine", data) if isinstance(result, dict) and isinstance(result.get("type"), str) else None


def _has_batch_id(data: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(data, dict) and isinstance(data.get("id"), str) and bool(BATCH_ID_PATTERN.fullmatch(data["id"]))
