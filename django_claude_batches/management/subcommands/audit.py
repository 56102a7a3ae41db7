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
from django_claude_batches.services.audits.findings import AuditReport, Finding, FindingKind

TITLES = {
    FindingKind.UNKNOWN_HERE: "Unknown here",
    FindingKind.UNKNOWN_THERE: "Unknown at Anthropic",
    FindingKind.OTHER_WORKSPACE: "Another Workspace",
    FindingKind.COUNTS_DIFFER: "Counts differ",
    FindingKind.ABOUT_TO_ARCHIVE: "About to be archived",
    FindingKind.STILL_THERE: "Not deleted",
}


class Audit(Subcommand):
    name = "audit"
    help = (
        "Compare all that Anthropic lists with the rows here, and report what differs and what to do about it. "
        "Free, and changes nothing. The exit code is 4 if something requires a person."
    )
    example = "manage.py claude_batches audit --account default"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", help="its alias (default: each account that has batches or a key)")

    def run(self, console: Console, options: dict[str, Any]) -> None:
        alias = None if options["account"] is None else conf.account(options["account"]).alias
        reports = services.audit(alias, progress=lambda report: console.progress(_so_far(report)))
        for report in reports:
            _show(console, report)
        if not reports:
            console.say("No account has a batch or a key.")
        console.document({"accounts": [asdict(report) for report in reports]})
        _judge(reports)


def _so_far(report: AuditReport) -> str:
    return f"Account {report.account}: {counted(report.listed, 'batch', 'batches')} compared"


def _show(console: Console, report: AuditReport) -> None:
    found = len(report.findings) + report.left_out
    listed = counted(report.listed, "batch", "batches")
    verb = "has" if report.others == 1 else "have"
    others = f" {report.others:,} {verb} no row here: the account is SHARED." if report.others else ""
    console.say(f"Account {report.account}: {listed} at Anthropic, {counted(found, 'finding')}.{others}")
    for finding in report.findings:
        console.say(f"  {TITLES[finding.kind]}: {_named(finding)}{finding.words}")
        console.say(f"    What to do: {finding.remedy}")
    if report.left_out:
        console.say(f"  And {report.left_out:,} more of these kinds.")
    if report.problem:
        console.complain(f"Account {report.account} could not be audited to the end: {report.problem}")
    elif not report.is_complete:
        console.complain(f"Account {report.account}: the listing is longer than the time; older batches were not seen.")


def _named(finding: Finding) -> str:
    return "" if finding.batch is None else f"#{finding.batch} "


def _judge(reports: list[AuditReport]) -> None:
    needing = sum(report.needing for report in reports)
    broken = [report.account for report in reports if report.problem]
    words = [f"{counted(needing, 'finding')} of the audit: see what to do."] if needing else []
    if broken:
        words.append(f"Not audited to the end: {', '.join(broken)}.")
    if words:
        raise CommandError(" ".join(words), returncode=Exit.FAILED if broken else Exit.NEEDS_A_PERSON)
