"""A batch as text for people, and as JSON for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django_claude_batches import conf
from django_claude_batches.error_text import one_line
from django_claude_batches.estimates import Estimate, dollars
from django_claude_batches.management.cli.console import Console
from django_claude_batches.models import AccountState, MessageBatch, State, SubmitAttempt
from django_claude_batches.models.batch.columns import COUNTS
from django_claude_batches.models.batch.outcomes import in_words, outcome_counts, read_invalid_counts
from django_claude_batches.models.batch_state import IDENTIFIABLE, UNSENT
from django_claude_batches.services.listings.candidates import foreign_ids

TIMES = (
    *("drafted", "queued", "created", "expires", "ended", "ingested", "announced", "next_action"),
    *("request_bodies_purged", "result_bodies_purged", "remote_deleted"),
)


def line(batch: MessageBatch) -> str:
    """Return the batch, its state and what that means, in one line."""
    where = f" {batch.anthropic_id}" if batch.anthropic_id else ""
    label = State(batch.state).label
    text = f"{batch}{where}: {label}, {counted(batch.request_count, 'request')}. {batch.explanation}"
    if known := in_words(outcome_counts(batch)):
        text = f"{text} {known}."
    if batch.state in UNSENT:
        text = f"{text} Estimate: {estimated(batch.estimate(conf.prices()))}."
    if (why := batch.attention()) and why not in text:
        text = f"{text} {why}"
    error = one_line(batch.last_error)
    return text if not error or error in text else f"{text} Last error: {error}"


def estimated(estimate: Estimate) -> str:
    """Return a range of dollars and the day of its prices, or why there is none, with the estimate's warnings."""
    return ". ".join([_range(estimate), *estimate.warnings])


def _range(estimate: Estimate) -> str:
    if estimate.cents is None:
        models = ", ".join(f'"{model}"' for model in estimate.unknown_models)
        return f"not known, no price for model {models} on {estimate.as_of}" if models else "not known"
    low, high = estimate.cents
    return f"{dollars(low)} to {dollars(high)} by the prices of {estimate.as_of}"


def glance(batch: MessageBatch) -> str:
    """Return the state and the counts, short enough for a progress line. Anthropic sets counts when a batch ends."""
    known = in_words(outcome_counts(batch))
    return f"#{batch.pk} {State(batch.state).label}: {known or counted(batch.request_count, 'request')}"


def paused(batch: MessageBatch) -> AccountState | None:
    """Return the account of a batch that is not sent because that account is paused; None if it is not."""
    if batch.state != State.QUEUED:
        return None
    return AccountState.objects.primary().paused().filter(alias=batch.account, paused_until=None).first()


def data(batch: MessageBatch) -> dict[str, Any]:
    """Return what `--json` prints about a batch. Times are ISO 8601; counts are Anthropic's, zero until it ended."""
    return {
        "id": batch.pk,
        "anthropic_id": batch.anthropic_id,
        "kind": batch.kind,
        "label": batch.label,
        "account": batch.account,
        "parent": batch.parent_id,
        "state": batch.state,
        "explanation": batch.explanation,
        "attention": batch.attention(),
        "request_count": batch.request_count,
        "request_counts": {name: getattr(batch, f"{name}_count") for name in COUNTS},
        "outcomes": {each.name: each.count for each in outcome_counts(batch)},
        "missing_count": batch.missing_count,
        "body_bytes": batch.body_bytes,
        "estimate": estimate_data(batch.estimate(conf.prices())),
        "last_error": batch.last_error,
        **{f"{name}_at": _iso(getattr(batch, f"{name}_at")) for name in TIMES},
    }


def estimate_data(estimate: Estimate) -> dict[str, Any]:
    """Return the range in USD as text, which is lossless; null if unknown."""
    return {
        "low_usd": None if estimate.low is None else f"{estimate.low:f}",
        "high_usd": None if estimate.high is None else f"{estimate.high:f}",
        "prices_as_of": estimate.as_of.isoformat(),
        "unknown_models": list(estimate.unknown_models),
        "warnings": list(estimate.warnings),
    }


def search_lines(batch: MessageBatch) -> Iterator[str]:
    """Yield what is known about an unconfirmed batch, its candidates, and why none is identified."""
    attempt = _searched_for(batch)
    if attempt is None:
        return
    size = "an unknown number of bytes" if attempt.body_bytes is None else counted(attempt.body_bytes, "byte")
    yield f"Sent at {_iso(attempt.sent_at)}: {size}. Watched for until {_iso(attempt.watch_until)}."
    before = f"Newest batch at Anthropic before it: {attempt.baseline_id or 'none'}"
    yield f"{before}. Full listings without a candidate: {attempt.listings_made:,}."
    for candidate in attempt.candidates:
        made = f"made at {candidate['created_at']}, {counted(candidate['requests'], 'request')}"
        yield f"Candidate: {candidate['id']} ({made}). Not confirmed yet: {candidate['why']}."
    if excluded := foreign_ids(attempt):
        yield f"Excluded, because their results do not have this batch's tag: {', '.join(excluded)}."


def search_data(batch: MessageBatch) -> dict[str, Any] | None:
    """Return the same as JSON; None for a batch that is not searched for."""
    attempt = _searched_for(batch)
    if attempt is None:
        return None
    return {
        "attempt": attempt.number,
        "body_bytes": attempt.body_bytes,
        "baseline_id": attempt.baseline_id,
        "listings_made": attempt.listings_made,
        "candidates": attempt.candidates,
        "excluded_ids": foreign_ids(attempt),
        **{
            name: _iso(getattr(attempt, name))
            for name in ("sent_at", "baseline_created_at", "window_until", "watch_until")
        },
    }


def _searched_for(batch: MessageBatch) -> SubmitAttempt | None:
    attempt = batch.last_attempt if batch.state in IDENTIFIABLE else None
    return None if attempt is None or attempt.sent_at is None else attempt


def show(console: Console, batches: Sequence[MessageBatch]) -> None:
    """Write a line for each batch, or the JSON document."""
    read_invalid_counts(batches)
    for batch in batches:
        console.say(line(batch))
    console.document({"batches": [data(batch) for batch in batches]})


def counted(number: int, thing: str, things: str = "") -> str:
    """Return the number with its noun: 1 request, 2,000 requests, 3 batches."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
