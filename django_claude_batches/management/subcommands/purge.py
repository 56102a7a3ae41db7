from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from django_claude_batches import conf, services
from django_claude_batches.management.cli.batch_output import counted
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.exit_codes import Exit
from django_claude_batches.management.cli.subcommand import Subcommand
from django_claude_batches.services.retention.bodies import PurgeCount, PurgeReport


class Purge(Subcommand):
    name = "purge"
    help = (
        "Remove what RETENTION does not keep: request bodies, result bodies, copies at Anthropic. It cannot be "
        "undone. Workers may run at the same time, and an interrupted purge continues with the next call."
    )
    example = "manage.py claude_batches purge --dry-run"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", help="its alias (default: all)")
        parser.add_argument("--dry-run", action="store_true", help="only report what would go; nothing is changed")

    def run(self, console: Console, options: dict[str, Any]) -> None:
        dry_run = options["dry_run"]
        did = "counted" if dry_run else "emptied"
        reports = services.purge(
            options["account"], dry_run=dry_run, progress=lambda report: console.progress(_so_far(report, did))
        )
        if not reports:
            console.say('CLAUDE_BATCHES["RETENTION"] is not set: all is kept for ever.')
        for report in reports:
            _show(console, report, dry_run=dry_run)
        console.document({"dry_run": dry_run, "accounts": [asdict(report) for report in reports]})
        if broken := [report.account for report in reports if report.problem]:
            raise CommandError(f"Not purged to the end: {', '.join(broken)}.", returncode=Exit.FAILED)


def _so_far(report: PurgeReport, did: str) -> str:
    rows = report.request_bodies.rows + report.result_bodies.rows
    return f"Account {report.account}: {counted(rows, 'row')} {did}"


def _show(console: Console, report: PurgeReport, *, dry_run: bool) -> None:
    retention = conf.retention()
    console.say(f"Account {report.account}, {'would go' if dry_run else 'gone'}:")
    if retention.request_bodies is not None:
        console.say(f"  {_bodies(report.request_bodies, 'request body', 'request bodies')}")
    if retention.result_bodies is not None:
        console.say(f"  {_bodies(report.result_bodies, 'result body', 'result bodies')}")
    if retention.remote_copies is not None:
        copies = counted(report.remote_copies.batches, "copy at Anthropic", "copies at Anthropic")
        console.say(f"  {copies}{'' if dry_run else ' (a worker deletes them)'}{_kept(report.remote_copies)}")
    if report.leased:
        console.complain(f"Left for later, because work is going on: {counted(report.leased, 'batch', 'batches')}.")
    if report.problem:
        console.complain(f"Account {report.account} could not be purged to the end: {report.problem}")


def _bodies(purged: PurgeCount, body: str, bodies: str) -> str:
    return f"{counted(purged.rows, body, bodies)} of {counted(purged.batches, 'batch', 'batches')}{_kept(purged)}"


def _kept(purged: PurgeCount) -> str:
    """Return how many are old enough, and are kept."""
    return f"; kept for {counted(purged.kept, 'batch', 'batches')} that still need them" if purged.kept else ""
