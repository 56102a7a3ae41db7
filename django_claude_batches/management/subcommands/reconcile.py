from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from django_claude_batches import services
from django_claude_batches.management.cli import batch_output
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.exit_codes import Exit
from django_claude_batches.management.cli.graceful_stop import Interruption
from django_claude_batches.management.cli.lookup import add_batches, found
from django_claude_batches.management.cli.subcommand import Subcommand
from django_claude_batches.models import MessageBatch, State


class Reconcile(Subcommand):
    name = "reconcile"
    help = (
        "Search at Anthropic for batches that were sent and never confirmed; without names, for all of them. "
        "Shows for each what is known, its candidates, and why they are not confirmed yet. One that is proved "
        "not received is sent again at once, and billed once sent, unless ON_NOT_CREATED is hold."
    )
    example = "manage.py claude_batches reconcile 12 --json"

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_batches(parser, nargs="*")

    def run(self, console: Console, options: dict[str, Any]) -> None:
        named = found(options["batches"])
        for batch in named:
            if batch.state != State.UNCERTAIN:
                raise batch.forbidden("reconcile", {State.UNCERTAIN})
        batches = named or list(MessageBatch.objects.primary().filter(state=State.UNCERTAIN).order_by("pk"))
        with Interruption() as interruption:
            failed = _searched(console, interruption, batches)
        batches = found(batch.pk for batch in batches)  # read again: the search for one may have proved another
        for batch in batches:
            console.say(batch_output.line(batch))
            for text in batch_output.search_lines(batch):
                console.say(f"  {text}")
        if not batches:
            console.say("No batch is unconfirmed.")
        shown = [{**batch_output.data(batch), "search": batch_output.search_data(batch)} for batch in batches]
        console.document({"batches": shown, "failed": failed})
        if interruption.wished:
            raise CommandError("Interrupted; the search continues with the next tick.", returncode=Exit.INTERRUPTED)
        _judge(batches if named else [], failed)


def _searched(console: Console, interruption: Interruption, batches: list[MessageBatch]) -> list[dict[str, Any]]:
    """Search for each in sequence, until a stop is requested; an error of one does not stop the others."""
    failed = []
    for batch in batches:
        if interruption.wished:
            break
        console.progress(f"Searching for {batch}")
        try:
            services.advance(batch)
        except Exception as error:  # noqa: BLE001 (an error of one batch must not stop the others)
            console.complain(f"{batch}: {type(error).__name__}: {error}")
            failed.append({"id": batch.pk, "error": str(error)})
    return failed


def _judge(named: list[MessageBatch], failed: list[dict[str, Any]]) -> None:
    if failed:
        raise CommandError(f"{batch_output.counted(len(failed), 'batch', 'batches')} failed.", returncode=Exit.FAILED)
    if waiting := [str(batch) for batch in named if batch.attention()]:
        raise CommandError(f"Not settled yet: {', '.join(waiting)}.", returncode=Exit.NEEDS_A_PERSON)
