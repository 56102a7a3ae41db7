"""Faults in a listing: entries that are missing for a time, missing at random, or in another order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django_claude_batches.testing.emulator.http_messages import Response, encoded

from .context import Turn, faults
from .fields import decoded

Entries = list[dict[str, Any]]


def delayed_listing(turn: Turn, *, seconds: float = 60.0) -> Response:
    """Omit entries younger than `seconds`, by the emulator's clock."""
    latest = turn.now - timedelta(seconds=seconds)
    return _changed(turn, lambda entries: [entry for entry in entries if not _is_after(entry, latest)])


def empty_listing(turn: Turn) -> Response:
    """List nothing, with `has_more` false."""
    return _changed(turn, lambda entries: [], has_more=False)


def short_listing(turn: Turn, *, missing: float = 0.5) -> Response:
    """Omit a share of the entries (0 to 1), drawn again for each answer."""
    return _changed(turn, lambda entries: [entry for entry in entries if turn.random.random() >= missing])


def reordered_listing(turn: Turn) -> Response:
    """List the entries in another order, drawn again for each answer."""
    return _changed(turn, lambda entries: turn.random.sample(entries, len(entries)))


def _is_after(entry: dict[str, Any], moment: datetime) -> bool:
    try:
        return datetime.fromisoformat(entry["created_at"]) > moment
    except (KeyError, TypeError, ValueError):
        return False  # changed by an earlier bend


def _changed(turn: Turn, change: Callable[[Entries], Entries], **page: Any) -> Response:
    """Return the answer with other entries, and the matching cursors."""
    answer = turn.answer()
    document = decoded(answer)
    if not isinstance(document, dict) or not isinstance(document.get("data"), list):
        return answer
    entries = change([entry for entry in document["data"] if isinstance(entry, dict)])
    ends = {"first_id": entries[0].get("id"), "last_id": entries[-1].get("id")} if entries else {}
    cursors = {"first_id": None, "last_id": None} | ends
    return replace(answer, body=encoded(document | {"data": entries} | cursors | page))


FAULTS = faults(("list",), delayed_listing, empty_listing, short_listing, reordered_listing)
