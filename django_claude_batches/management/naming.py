"""How people name a batch on the command line, and how it is found."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from django.core.management.base import CommandError

from django_claude_batches.models import MessageBatch
from django_claude_batches.wire import BATCH_ID_PATTERN

Name = int | str
"""A primary key of ours, or an id of Anthropic's."""

LARGEST_KEY = 2**63 - 1


def batch_name(text: str) -> Name:
    """Read a name, for argparse."""
    digits = text.removeprefix("#")
    if digits.isascii() and digits.isdigit() and 0 < int(digits) <= LARGEST_KEY:
        return int(digits)
    if BATCH_ID_PATTERN.fullmatch(text):
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r:.80} names no batch: give its number here (12) or its id at Anthropic (msgbatch_013Zva2C…)"
    )


def remote_id(text: str) -> str:
    """Read an id of Anthropic's, for argparse."""
    if BATCH_ID_PATTERN.fullmatch(text):
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r:.80} is not a batch's id at Anthropic; one looks like msgbatch_013Zva2CMHLNnXjNJJKqJ2EF"
    )


def add_batches(parser: argparse.ArgumentParser, *, nargs: str = "+") -> None:
    text = "its number here, or its id at Anthropic"
    parser.add_argument("batches", nargs=nargs, type=batch_name, metavar="BATCH", help=text)


def found(names: Iterable[Name]) -> list[MessageBatch]:
    """Give the batches, each once, in the order in which they were named; raise CommandError for an unknown one."""
    batches = [_find(name) for name in names]
    return list({batch.pk: batch for batch in batches}.values())


def _find(name: Name) -> MessageBatch:
    rows = MessageBatch.objects.primary()
    batch = rows.filter(pk=name).first() if isinstance(name, int) else rows.filter(anthropic_id=name).first()
    if batch is not None:
        return batch
    if isinstance(name, int):
        raise CommandError(f"There is no batch #{name}. See `claude_batches status`.")
    raise CommandError(f"No batch here is {name}. `claude_batches adopt {name}` takes it over from Anthropic.")
