from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandError

from django_claude_batches import conf, services
from django_claude_batches.estimates import Estimate
from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.management.cli import batch_output
from django_claude_batches.management.cli.argument_types import valid
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.cost_guard import add_yes, refuse_large
from django_claude_batches.management.cli.exit_codes import Exit
from django_claude_batches.management.cli.prompt_options import add_question, opened, question
from django_claude_batches.management.cli.subcommand import Subcommand, record_all
from django_claude_batches.models import MessageBatch
from django_claude_batches.request_files import BadRow, CheckReport, RequestFile
from django_claude_batches.request_files.row import OF_THE_FILE


class Draft(Subcommand):
    name = "draft"
    help = (
        'Draft a batch from a file of requests in the API\'s own format, one {"custom_id": …, "params": …} a line; or, '
        "with --prompt, from a CSV file, whose first row names the columns. Nothing is sent without --submit, and a "
        "bad row means that nothing is drafted. --dry-run names them all, and shows the first requests."
    )
    example = 'manage.py claude_batches draft requests.jsonl --kind review-tags --label "Tags, by hand"'

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="JSON lines or CSV, in UTF-8; - reads standard input")
        parser.add_argument("--label", type=valid(MessageBatch, "label"), default="", help="a name for people")
        parser.add_argument(
            "--kind", type=valid(MessageBatch, "kind"), default="", help="what it is for, read by your receivers"
        )
        parser.add_argument("--account", default=conf.DEFAULT_ACCOUNT, help="whose key it is sent with")
        add_question(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="only report what would be drafted, and what is wrong"
        )
        parser.add_argument("--submit", action="store_true", help="queue it at once: this is billed once sent")
        add_yes(parser)

    def run(self, console: Console, options: dict[str, Any]) -> None:
        conf.account(options["account"])
        asked = question(options)
        with opened(options["file"]) as file:
            name = "standard input" if options["file"] == "-" else options["file"]
            requests = RequestFile(file, name=name, question=asked)
            if options["dry_run"]:
                _dry_run(console, requests)
                return
            batch = _drafted(console, requests, options)
        if options["submit"]:
            refuse_large([batch], yes=options["yes"])
            record_all([batch], services.submit)
        batch_output.show(console, [batch])


def _drafted(console: Console, requests: RequestFile, options: dict[str, Any]) -> MessageBatch:
    try:
        return MessageBatch.objects.create_draft(
            requests,
            kind=options["kind"],
            label=options["label"],
            account=options["account"],
            cells_header=requests.header,
            progress=lambda count: console.progress(f"{batch_output.counted(count, 'request')} drafted"),
        )
    except BadRow as error:
        problem = str(error)
    except InvalidRequest as error:
        problem = requests.explain(error)
    raise CommandError(f"{problem}. Nothing was drafted.")


def _dry_run(console: Console, file: RequestFile) -> None:
    """Read the file to its end and store nothing; raise CommandError if it could not be drafted."""
    survey = CheckReport()
    for row in file.rows():
        if problem := survey.add_row(row):
            console.say(f"{file.place(row.number)}: {problem}.")
        if survey.is_full:
            break
        if survey.rows % 1000 == 0:
            console.progress(f"{batch_output.counted(survey.rows, 'row')} checked")
    for sample in survey.samples:
        console.say(f"{sample['custom_id']}: {sample['params']}")
    console.say(
        f"{batch_output.counted(survey.requests, 'request')}, {survey.bytes:,} bytes; {survey.bad_count:,} bad."
    )
    console.document(_document(survey))
    if survey.bad_count or not survey.requests:
        raise CommandError(f"{file.name} cannot be drafted: {_reason(survey)}.", returncode=Exit.FAILED)
    console.say(f"It can be drafted: nothing was stored so far. Estimate: {batch_output.estimated(_estimate(survey))}.")


def _reason(survey: CheckReport) -> str:
    if any(number == OF_THE_FILE for number, _problem in survey.bad_rows):
        return "its header or the prompt is wrong, or it is no table"
    return batch_output.counted(survey.bad_count, "bad row") if survey.bad_count else "no request in it"


def _estimate(survey: CheckReport) -> Estimate:
    return survey.expected.estimate(conf.prices())


def _document(survey: CheckReport) -> dict[str, Any]:
    return {
        "dry_run": True,
        "rows": survey.rows,
        "request_count": survey.requests,
        "body_bytes": survey.bytes,
        "estimate": batch_output.estimate_data(_estimate(survey)),
        "bad_count": survey.bad_count,
        "bad_rows": [{"number": number, "reason": reason} for number, reason in survey.bad_rows],
        "first": [{"custom_id": sample["custom_id"], "params": sample["params"]} for sample in survey.samples],
    }
