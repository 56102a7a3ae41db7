"""A batch as a person reads it, and as a script does."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django_claude_batches.models import AccountState, MessageBatch, State
from django_claude_batches.models.mirror import COUNTS

WAITING_FOR_A_PERSON = frozenset({State.UNCERTAIN, State.HELD, State.REJECTED, State.LOST, State.ABANDONED})

TIMES = ("drafted", "queued", "created", "expires", "ended", "ingested", "announced", "remote_deleted", "next_action")


def line(batch: MessageBatch) -> str:
    """Give the batch, its state and what that means, in one line."""
    where = f" {batch.anthropic_id}" if batch.anthropic_id else ""
    label = State(batch.state).label
    text = f"{batch}{where}: {label}, {counted(batch.request_count, 'request')}. {batch.explanation}"
    error = batch.last_error.partition("\n")[0]
    return text if not error or error in text else f"{text} Last error: {error}"


def glance(batch: MessageBatch) -> str:
    """Give the state and the counts, short enough for a progress line. Anthropic counts when a batch has ended."""
    counts = {name: getattr(batch, f"{name}_count") for name in COUNTS}
    known = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    return f"#{batch.pk} {State(batch.state).label}: {known or counted(batch.request_count, 'request')}"


def paused(batch: MessageBatch) -> AccountState | None:
    """Give the account of a batch that is not sent until somebody resumes that account."""
    if batch.state != State.QUEUED:
        return None
    return AccountState.objects.primary().paused().filter(alias=batch.account, paused_until=None).first()


def needs_a_person(batch: MessageBatch) -> bool:
    """Whether nothing good happens to this batch by itself any more."""
    if batch.state == State.INGESTED:
        return batch.missing_count > 0 or (batch.announced_at is not None and batch.last_error != "")
    return batch.state in WAITING_FOR_A_PERSON or paused(batch) is not None


def data(batch: MessageBatch) -> dict[str, Any]:
    """Give what `--json` prints of a batch. Times are ISO 8601; counts are Anthropic's, zero until it ended."""
    return {
        "id": batch.pk,
        "anthropic_id": batch.anthropic_id,
        "kind": batch.kind,
        "label": batch.label,
        "account": batch.account,
        "state": batch.state,
        "explanation": batch.explanation,
        "needs_a_person": needs_a_person(batch),
        "request_count": batch.request_count,
        "request_counts": {name: getattr(batch, f"{name}_count") for name in COUNTS},
        "missing_count": batch.missing_count,
        "body_bytes": batch.body_bytes,
        "last_error": batch.last_error,
        **{f"{name}_at": _iso(getattr(batch, f"{name}_at")) for name in TIMES},
    }


def document(batches: Iterable[MessageBatch]) -> dict[str, Any]:
    return {"batches": [data(batch) for batch in batches]}


def counted(number: int, thing: str, things: str = "") -> str:
    """Give the number with its noun: 1 request, 2,000 requests, 3 batches."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
