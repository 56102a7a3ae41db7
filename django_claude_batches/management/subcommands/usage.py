from __future__ import annotations

import argparse
from datetime import date
from typing import Any

from django.core.management.base import CommandError

from django_claude_batches.management.cli import usage_output
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.exit_codes import Exit
from django_claude_batches.management.cli.subcommand import Subcommand
from django_claude_batches.models import UsageRollup
from django_claude_batches.models.usage_totals import FIRST_DAY, GROUPS, LAST_DAY, PERIODS, UsageReport, total_of
from django_claude_batches.sanitize import text


class Usage(Subcommand):
    name = "usage"
    help = (
        "Show what was spent: cost, answered requests and tokens, by day, week, month, model, job or kind, account or "
        "person who started it. From stored sums of complete batches; deleted batches stay in them. Days are those of "
        "TIME_ZONE, and a batch counts on the day on which it ended."
    )
    example = "manage.py claude_batches usage --by job --since 2026-11-01"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        names = [*PERIODS, *GROUPS]
        parser.add_argument("--by", action="append", choices=names, help="default: month; may be repeated")
        parser.add_argument("--since", type=_day, metavar="DAY", help="the first day, such as 2026-11-01")
        parser.add_argument("--until", type=_day, metavar="DAY", help="the last day")
        parser.add_argument("--model", type=text, help="only what this model answered")
        parser.add_argument("--job", type=text, help='only of this job or kind; "" for batches with neither')
        parser.add_argument("--account", type=text, help="only of this account")
        parser.add_argument("--starter", type=text, help="only of batches that this person started, by the user name")

    def run(self, console: Console, options: dict[str, Any]) -> None:
        if options["since"] and options["until"] and options["since"] > options["until"]:
            raise CommandError("--since is after --until.", returncode=Exit.WRONG_USAGE)
        only = {name: options[name] for name in GROUPS if options[name] is not None}
        report = UsageReport(UsageRollup.objects.primary(), options["since"], options["until"], only)
        by = list(dict.fromkeys(options["by"] or ["month"]))
        rows = report.by(*by)
        this, last = report.months(by, rows)
        for row in rows:
            console.say(usage_output.line(row))
        console.say(f"Total: {usage_output.in_words(total_of(rows))}" if rows else "Nothing was spent in this time.")
        console.say(f"This month: {usage_output.in_words(this)}")
        console.say(f"Last month: {usage_output.in_words(last)}")
        console.document(usage_output.document(report, by, rows) | usage_output.months(this, last))


def _day(given: str) -> date:
    try:
        day = date.fromisoformat(given)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{given!r:.80} is not a day, such as 2026-11-01") from None
    if FIRST_DAY <= day <= LAST_DAY:
        return day
    raise argparse.ArgumentTypeError(f"{given} is not from {FIRST_DAY} to {LAST_DAY}")
