from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from django_claude_batches.management.cli import batch_output
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.exit_codes import Exit
from django_claude_batches.management.cli.lookup import add_batches, found
from django_claude_batches.management.cli.subcommand import Subcommand
from django_claude_batches.models import MessageBatch

NEWEST = 20


class Status(Subcommand):
    name = "status"
    help = f"Show batches, from our rows alone; without names, the newest {NEWEST}."
    example = "manage.py claude_batches status 12 --json"

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_batches(parser, nargs="*")
        parser.add_argument("--kind", help="without names: only batches of this kind")

    def run(self, console: Console, options: dict[str, Any]) -> None:
        named = found(options["batches"])
        batches = named or _newest(options["kind"])
        for batch in batches:
            console.say(batch_output.line(batch))
        if not batches:
            console.say("There is no batch yet.")
        console.document(batch_output.document(batches))
        if waiting := [str(batch) for batch in named if batch.attention()]:
            raise CommandError(f"Needs attention: {', '.join(waiting)}.", returncode=Exit.NEEDS_A_PERSON)


def _newest(kind: str | None) -> list[MessageBatch]:
    rows = MessageBatch.objects.primary().order_by("-pk")
    return list((rows if kind is None else rows.of_kind(kind))[:NEWEST])
