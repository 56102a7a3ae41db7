"""What came back, read from the rows."""

from __future__ import annotations

from django.db.models import Count, Min, Sum
from rich.console import Console
from rich.table import Table
from rich.text import Text

from django_claude_batches.models import BatchResult, MessageBatch, State

WORDS = 60
"""Characters of an answer to show."""

FAILURES = 10
"""Different things that failed rows said, at most."""


def is_balanced(batch: MessageBatch) -> bool:
    """Whether the ledger balanced: each request has its result, and all of them are rows."""
    return (
        batch.state == State.INGESTED
        and batch.missing_count == 0
        and batch.results.count() == batch.request_count
        and not batch.requests.missing().exists()
    )


def show_results(console: Console, batch: MessageBatch, *, rows: int) -> None:
    """Print a table of the first results, in the order of the requests."""
    table = Table("id", "outcome", "tokens in", "out", "first words", box=None, pad_edge=False)
    for result in batch.results.in_request_order()[:rows]:
        table.add_row(
            result.custom_id,
            result.result_type,
            _number(result.input_tokens),
            _number(result.output_tokens),
            _first_words(result.text or result.error_message),
        )
    console.print(table)
    if (more := batch.results.count() - rows) > 0:
        console.print(f"… and {more:,} more")


def show_failures(console: Console, batch: MessageBatch) -> None:
    """Print what the failed rows said, each thing once with how many said it."""
    failed = batch.results.exclude(result_type="succeeded")
    said = failed.values_list("result_type", "error_type", "error_message").order_by()
    groups = said.annotate(rows=Count("pk"), example=Min("custom_id")).order_by("-rows", "example")
    for result_type, error_type, error_message, count, example in groups[:FAILURES]:
        words = ": ".join(filter(None, [result_type, error_type, error_message]))
        console.print(Text(f"{count:,} x {_printable(words)} (such as {example})"), soft_wrap=True)
    if (more := groups.count() - FAILURES) > 0:
        console.print(f"… and {more:,} other failures")


def show_totals(console: Console, batch: MessageBatch, *, seconds: float) -> None:
    """Print outcomes, tokens and the ledger."""
    outcomes = batch.results.values_list("result_type").annotate(rows=Count("pk")).order_by("-rows")
    counted = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes) or "no results"
    sums = BatchResult.objects.filter(batch=batch).aggregate(Sum("input_tokens"), Sum("output_tokens"))
    tokens_in, tokens_out = sums["input_tokens__sum"] or 0, sums["output_tokens__sum"] or 0
    console.print(f"Batch {batch} ({batch.anthropic_id}): {counted}; {seconds:.0f} s.", soft_wrap=True, markup=False)
    console.print(f"Tokens: {tokens_in:,} in, {tokens_out:,} out.")
    stored, verdict = batch.results.count(), "balanced" if is_balanced(batch) else "NOT balanced"
    console.print(
        f"Ledger: {batch.request_count:,} requests, {stored:,} results, {batch.missing_count:,} missing: {verdict}."
    )


def _number(tokens: int | None) -> str:
    return "" if tokens is None else f"{tokens:,}"


def _first_words(text: str) -> Text:
    # What underlines a heading is no word.
    words = " ".join(word for word in text[: 4 * WORDS].split() if any(map(str.isalnum, word)))
    return Text(_printable(words[: WORDS - 1] + "…" if len(words) > WORDS else words), no_wrap=True)


def _printable(text: str) -> str:
    """Whatever a model says, it does not steer the terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
