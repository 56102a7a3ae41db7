"""The sub-commands that show batches and runs of jobs, from our rows alone."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from django_claude_batches.management.cli import batch_output, run_output
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.exit_codes import Exit
from django_claude_batches.management.cli.lookup import add_batches, found
from django_claude_batches.management.cli.subcommand import Subcommand
from django_claude_batches.models import JobRun, MessageBatch

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
        batches = named or _newest_batches(options["kind"])
        batch_output.show(console, batches)
        if not batches:
            console.say("There is no batch yet.")
        if waiting := [str(batch) for batch in named if batch.attention()]:
            raise CommandError(f"Needs attention: {', '.join(waiting)}.", returncode=Exit.NEEDS_A_PERSON)


def _newest_batches(kind: str | None) -> list[MessageBatch]:
    rows = MessageBatch.objects.primary().order_by("-pk")
    return list((rows if kind is None else rows.of_kind(kind))[:NEWEST])


class Runs(Subcommand):
    name = "runs"
    help = f"Show runs of jobs, from our rows alone: the newest {NEWEST}, or all that are active."
    example = "manage.py claude_batches runs --active --json"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--job", help="only runs of this job")
        parser.add_argument("--active", action="store_true", help="only those that are not over, and all of them")

    def run(self, console: Console, options: dict[str, Any]) -> None:
        rows = JobRun.objects.primary().order_by("-pk")
        if options["job"] is not None:
            rows = rows.filter(job=options["job"])
        runs = list(rows.active() if options["active"] else rows[:NEWEST])
        run_output.show(console, runs)
        if not runs:
            console.say("There is no such run.")
