"""Parse and look up the batches and runs that are named on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from django.core.management.base import CommandError

from django_claude_batches.models import JobRun, MessageBatch
from django_claude_batches.wire import BATCH_ID_PATTERN

# A primary key, or an id at Anthropic.
Name = int | str

LARGEST_KEY = 2**63 - 1


def batch_name(text: str) -> Name:
    """Parse a batch's name, for argparse."""
    if (number := _key(text)) is not None:
        return number
    if BATCH_ID_PATTERN.fullmatch(text):
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r:.80} names no batch: give its number here (12) or its id at Anthropic (msgbatch_013Zva2C…)"
    )


def run_name(text: str) -> int:
    """Parse the number of a run, for argparse."""
    if (number := _key(text)) is not None:
        return number
    raise argparse.ArgumentTypeError(
        f"{text!r:.80} names no run: give its number (12), as `claude_batches runs` shows it"
    )


def _key(text: str) -> int | None:
    digits = text.removeprefix("#")
    return int(digits) if digits.isascii() and digits.isdigit() and 0 < int(digits) <= LARGEST_KEY else None


def remote_id(text: str) -> str:
    """Parse an id of Anthropic's, for argparse."""
    if BATCH_ID_PATTERN.fullmatch(text):
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r:.80} is not a batch's id at Anthropic; one looks like msgbatch_013Zva2CMHLNnXjNJJKqJ2EF"
    )


def add_batches(parser: argparse.ArgumentParser, *, nargs: str = "+") -> None:
    text = "its number here, or its id at Anthropic"
    parser.add_argument("batches", nargs=nargs, type=batch_name, metavar="BATCH", help=text)


def found(names: Iterable[Name]) -> list[MessageBatch]:
    """Return the batches, each once, in the order in which they were named; raise CommandError for an unknown one."""
    batches = [_find(name) for name in names]
    return list({batch.pk: batch for batch in batches}.values())


def found_runs(numbers: Iterable[int]) -> list[JobRun]:
    """Return the runs, each once, in the order in which they were named; raise CommandError for an unknown one."""
    runs = {number: JobRun.objects.primary().filter(pk=number).first() for number in numbers}
    for number, run in runs.items():
        if run is None:
            raise CommandError(f"There is no run #{number}. See `claude_batches runs`.")
    return [run for run in runs.values() if run is not None]


def _find(name: Name) -> MessageBatch:
    rows = MessageBatch.objects.primary()
    batch = rows.filter(pk=name).first() if isinstance(name, int) else rows.filter(anthropic_id=name).first()
    if batch is not None:
        return batch
    if isinstance(name, int):
        raise CommandError(f"There is no batch #{name}. See `claude_batches status`.")
    raise CommandError(f"No batch here is {name}. `claude_batches adopt {name}` takes it over from Anthropic.")
