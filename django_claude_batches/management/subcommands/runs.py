from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django_claude_batches.management.cli import run_output
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.subcommand import Subcommand
from django_claude_batches.models import JobRun
from django_claude_batches.models.run_totals import RunTotals

NEWEST = 20


class Runs(Subcommand):
    name = "runs"
    help = f"Show runs of jobs, from our rows alone: the newest {NEWEST}, or all that are active."
    example = "manage.py claude_batches runs --active --json"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--job", help="only runs of this job")
        parser.add_argument("--active", action="store_true", help="only those that are not over, and all of them")

    def run(self, console: Console, options: dict[str, Any]) -> None:
        runs = _chosen(options["job"], active=options["active"])
        totals = RunTotals.of_each(runs)
        for run in runs:
            console.say(run_output.line(run, totals[run.pk]))
        if not runs:
            console.say("There is no such run.")
        console.document(run_output.document(runs, totals))


def _chosen(job: str | None, *, active: bool) -> list[JobRun]:
    rows = JobRun.objects.primary().order_by("-pk")
    if job is not None:
        rows = rows.filter(job=job)
    return list(rows.active() if active else rows[:NEWEST])
