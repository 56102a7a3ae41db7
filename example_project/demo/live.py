"""`--live`: what is said, and must be agreed to, before anything is billed."""

from __future__ import annotations

from argparse import ArgumentTypeError
from decimal import ROUND_UP, Decimal
from typing import Any
from urllib.parse import urlsplit

from django.core.management import CommandError
from django.core.management.base import CommandParser
from rich.console import Console

from demo.errand import Errand
from django_claude_batches import conf
from django_claude_batches.client.validation import is_loopback
from django_claude_batches.estimates import CENT, dollars
from django_claude_batches.models import BatchRequest, MessageBatch, bulk
from django_claude_batches.pricing import PriceTable

TOPICS = 3
"""Requests that are sent by default: they are enough to see that it works."""

RULE = (
    "That is a token for each byte of the requests, and all that max_tokens allows. Images, documents by URL and tools "
    "come on top, where your requests have any."
)


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--live", action="store_true", help="send to Anthropic with your key: this is billed")
    parser.add_argument("--yes", action="store_true", help="with --live: agree to the cost without being asked")
    text = f"topics of the language reference (default: all; with --live {TOPICS})"
    parser.add_argument("--requests", type=at_least_one, metavar="N", help=text)


def at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ArgumentTypeError(f"{text}: at least 1")
    return number


def most_topics(options: dict[str, Any]) -> int | None:
    number: int | None = options["requests"]
    return TOPICS if number is None and options["live"] else number


def agree(console: Console, errand: Errand, url: str, *, is_agreed: bool) -> None:
    """Say where it goes and what it costs at most, and have that agreed to. Raise CommandError if it is not."""
    with errand.shown() as batch:
        _say(console, batch, url)
        if not is_agreed:
            _ask(console, batch)


def most(batch: MessageBatch, prices: PriceTable) -> Decimal:
    """Give what the batch costs at most, in USD. Raise CommandError where a price is not known."""
    return sum((_most(request, prices) for request in bulk.in_order(batch.requests.all())), Decimal(0))


def _most(request: BatchRequest, prices: PriceTable) -> Decimal:
    """A token has a byte at least, so there are no more tokens than bytes; writing them to a cache may cost double."""
    params, is_cached = request.params, "cache_control" in request.params_text
    given = params.get("max_tokens")
    cost = prices.cost(
        request.model,
        **{"cache_write_1h_tokens" if is_cached else "input_tokens": request.params_bytes},
        output_tokens=given if isinstance(given, int) else 0,  # else it is refused, and not billed
        inference_geo=params.get("inference_geo") or "",
    )
    if cost is None:
        raise CommandError(
            f"Nothing was sent: the price of {request.model} is not known, and so not what this costs at most. "
            'CLAUDE_BATCHES["PRICES"] can set it.'
        )
    return cost


def _say(console: Console, batch: MessageBatch, url: str) -> None:
    prices = conf.prices()
    usd = most(batch, prices).quantize(CENT, ROUND_UP)
    where = f"{url}, with ANTHROPIC_API_KEY"
    if is_loopback(urlsplit(url).hostname or ""):
        where = f"{where}. That is this machine, and not Anthropic, unless it is passed on"
    requests = f"{batch.request_count:,} request{'s' if batch.request_count != 1 else ''}"
    console.print(f"{requests}, {batch.body_bytes:,} bytes, would go to {where}.", soft_wrap=True, markup=False)
    text = f"This is billed, {dollars(usd)} at most by the prices of {prices.as_of}. {RULE}"
    console.print(text, soft_wrap=True, markup=False)


def _ask(console: Console, batch: MessageBatch) -> None:
    number = str(batch.request_count)
    console.print(f"To send them, type their number, {number}: ", end="", markup=False)
    try:
        typed = input()
    except EOFError:
        raise CommandError("Nothing was sent: this is no terminal. Use --yes to confirm beforehand.") from None
    if typed.strip() != number:
        raise CommandError(f"Nothing was sent: {number} was not what was typed.")
