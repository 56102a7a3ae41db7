"""What came back, read from the rows."""

from __future__ import annotations

from django.db.models import Count, Min, QuerySet, Sum
from rich.console import Console
from rich.table import Table
from rich.text import Text

from django_claude_batches.estimates import dollars
from django_claude_batches.models import BatchResult, MessageBatch, State

WORDS = 60
"""Characters of an answer to show."""

FAILURES = 10
"""Different things that failed rows said, at most."""


def is_balanced(batches: QuerySet[MessageBatch]) -> bool:
    """Whether the ledger balanced: each request has its result, and all of them are rows."""
    return all(_is_balanced(batch) for batch in batches)


def _is_balanced(batch: MessageBatch) -> bool:
    return (
        batch.state == State.INGESTED
        and batch.missing_count == 0
        and batch.results.count() == batch.request_count
        and not batch.requests.missing().exists()
    )


def show_answers(console: Console, results: QuerySet[BatchResult], *, rows: int) -> None:
    """Print a table of the first results, in the order of the requests."""
    table = Table("id", "outcome", "tokens in", "out", "first words", box=None, pad_edge=False)
    for result in results.in_request_order()[:rows]:
        table.add_row(
            result.custom_id,
            result.result_type,
            _number(result.input_tokens),
            _number(result.output_tokens),
            _first_words(result.text or result.error_message),
        )
    _show(console, table, more=results.count() - rows)


def show_tags(console: Console, results: QuerySet[BatchResult], *, rows: int) -> None:
    """Print a table of the first reviews, with what the job stored in each."""
    table = Table("review", "outcome", "tokens in", "out", "tags", box=None, pad_edge=False)
    for result in results.with_target().in_request_order()[:rows]:
        review = result.target
        table.add_row(
            _first_words(result.custom_id if review is None else str(review)),
            result.outcome,
            _number(result.input_tokens),
            _number(result.output_tokens),
            _first_words("deleted" if review is None else review.tags),
        )
    _show(console, table, more=results.count() - rows)


def _show(console: Console, table: Table, *, more: int) -> None:
    console.print(table)
    if more > 0:
        console.print(f"… and {more:,} more")


def show_failures(console: Console, results: QuerySet[BatchResult]) -> None:
    """Print what the failed rows said, each thing once with how many said it."""
    failed = results.exclude(result_type="succeeded")
    said = failed.values_list("result_type", "error_type", "error_message").order_by()
    groups = said.annotate(rows=Count("pk"), example=Min("custom_id")).order_by("-rows", "example")
    for result_type, error_type, error_message, count, example in groups[:FAILURES]:
        words = ": ".join(filter(None, [result_type, error_type, error_message]))
        console.print(Text(f"{count:,} x {_printable(words)} (such as {example})"), soft_wrap=True)
    if (more := groups.count() - FAILURES) > 0:
        console.print(f"… and {more:,} other failures")


def outcomes(results: QuerySet[BatchResult]) -> str:
    """Count the outcomes, in words."""
    counted = results.order_by().values_list("result_type").annotate(rows=Count("pk")).order_by("-rows")
    return ", ".join(f"{count:,} {outcome}" for outcome, count in counted) or "no results"


def show_totals(console: Console, batches: QuerySet[MessageBatch]) -> None:
    """Print tokens, cost and the ledger."""
    results = BatchResult.objects.filter(batch__in=batches)
    summed = ("input_tokens", "output_tokens", "cost_usd")
    sums = results.aggregate(**{f"{name}_sum": Sum(name, default=0) for name in summed})
    tokens_in, tokens_out, usd = (sums[f"{name}_sum"] for name in summed)
    dates = {str(batch.prices_as_of) for batch in batches if batch.prices_as_of}
    cost = f"{dollars(usd)} by the prices of {', '.join(sorted(dates))}" if dates else "cost unknown"
    if results.succeeded().filter(cost_usd__isnull=True).exists():
        cost += ", as far as they are known"
    console.print(f"Tokens: {tokens_in:,} in, {tokens_out:,} out; {cost}.", soft_wrap=True)
    requested, missing = (sum(getattr(each, name) for each in batches) for name in ("request_count", "missing_count"))
    verdict = "balanced" if is_balanced(batches) else "NOT balanced"
    console.print(f"Ledger: {requested:,} requests, {results.count():,} results, {missing:,} missing: {verdict}.")


def _number(tokens: int | None) -> str:
    return "" if tokens is None else f"{tokens:,}"


def _first_words(text: str) -> Text:
    # What underlines a heading is no word.
    words = " ".join(word for word in text[: 4 * WORDS].split() if any(map(str.isalnum, word)))
    return Text(_printable(words[: WORDS - 1] + "…" if len(words) > WORDS else words), no_wrap=True)


def _printable(text: str) -> str:
    """Whatever a model says, it does not steer the terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
