from __future__ import annotations

import argparse
import time
from typing import Any

from django.core.management.base import CommandError

from django_claude_batches import services
from django_claude_batches.exceptions import WaitTimeout
from django_claude_batches.management.cli import batch_output
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.exit_codes import Exit
from django_claude_batches.management.cli.graceful_stop import Interruption
from django_claude_batches.management.cli.lookup import add_batches, found
from django_claude_batches.management.cli.subcommand import Subcommand
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.models.batch_state import ALWAYS_DUE


class Wait(Subcommand):
    name = "wait"
    help = (
        "Wait until batches are complete, with or without workers: what is due is done here, so a queued batch is "
        "sent. Ends early for a batch that needs a person."
    )
    example = "manage.py claude_batches wait 12 13 --timeout 3600"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_batches(parser)
        parser.add_argument("--timeout", type=seconds, metavar="SECONDS", help="wait no longer (default: for ever)")
        parser.add_argument(
            "--interval", type=seconds, default=10.0, metavar="SECONDS", help="between two looks (default: 10)"
        )

    def run(self, console: Console, options: dict[str, Any]) -> None:
        batches = found(options["batches"])
        for batch in batches:
            if batch.state == State.DRAFT:
                raise batch.forbidden("wait for", ALWAYS_DUE, "it is not submitted.")
        with Interruption() as interruption:
            pending = _watch(console, interruption, batches, options["timeout"], options["interval"])
        batch_output.show(console, batches)
        _judge(batches, pending)


def _watch(
    console: Console,
    interruption: Interruption,
    batches: list[MessageBatch],
    timeout: float | None,
    interval: float,
) -> list[MessageBatch]:
    """Do rounds until nothing is left to wait for; return what is left at the time limit."""
    give_up_at = float("inf") if timeout is None else time.monotonic() + timeout
    pending = batches
    while pending := [batch for batch in pending if interruption.wished or not _is_settled(batch)]:
        console.progress("; ".join(batch_output.glance(batch) for batch in pending[:3]), plain=True)
        left = give_up_at - time.monotonic()
        if left <= 0 or interruption.pause(min(interval, left)):
            break
    return pending


def _is_settled(batch: MessageBatch) -> bool:
    try:
        services.wait(batch, timeout=0)
    except WaitTimeout:
        return batch_output.paused(batch) is not None
    return True


def _judge(batches: list[MessageBatch], pending: list[MessageBatch]) -> None:
    for batch in batches:
        if (account := batch_output.paused(batch)) is not None:
            raise CommandError(
                f"Account {account.alias} is paused, so nothing is sent: {account.pause_reason} When that is fixed: "
                f"`claude_batches resume {account.alias}`.",
                returncode=Exit.NEEDS_A_PERSON,
            )
    settled = [batch for batch in batches if batch not in pending]
    stuck = [batch for batch in settled if batch.state != State.INGESTED or batch.attention()]
    if stuck:
        states = ", ".join(f"{batch} ({State(batch.state).label})" for batch in stuck)
        raise CommandError(f"Needs a person: {states}.", returncode=Exit.NEEDS_A_PERSON)
    if pending:
        states = ", ".join(f"{batch} ({State(batch.state).label})" for batch in pending)
        raise CommandError(f"Stopped waiting, and it continues: {states}.", returncode=Exit.TIMED_OUT)


def seconds(text: str) -> float:
    """Parse a number of seconds, for argparse."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds from 0")
    return number
