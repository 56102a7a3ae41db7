from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandError

from django_claude_batches import conf, services
from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.management.cli import batch_output
from django_claude_batches.management.cli.argument_types import valid
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.cost_guard import add_yes, refuse_large
from django_claude_batches.management.cli.draft_preview import dry_run
from django_claude_batches.management.cli.prompt_options import add_question, opened, question
from django_claude_batches.management.cli.subcommand import Subcommand, record_all
from django_claude_batches.models import MessageBatch
from django_claude_batches.request_files import BadRow, RequestFile


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
        parser.add_argument("--label", type=valid(MessageBatch, "label"), default="", help="what people call it")
        parser.add_argument(
            "--kind", type=valid(MessageBatch, "kind"), default="", help="what it is for, for your receivers"
        )
        parser.add_argument("--account", default=conf.DEFAULT_ACCOUNT, help="whose key it is sent with")
        add_question(parser)
        parser.add_argument("--dry-run", action="store_true", help="only say what would be drafted, and what is wrong")
        parser.add_argument("--submit", action="store_true", help="queue it at once: this is billed once sent")
        add_yes(parser)

    def run(self, console: Console, options: dict[str, Any]) -> None:
        conf.account(options["account"])
        asked = question(options)
        with opened(options["file"]) as file:
            name = "standard input" if options["file"] == "-" else options["file"]
            requests = RequestFile(file, name=name, question=asked)
            if options["dry_run"]:
                dry_run(console, requests)
                return
            batch = _drafted(console, requests, options)
        if options["submit"]:
            refuse_large([batch], yes=options["yes"])
            record_all([batch], services.submit)
        console.say(batch_output.line(batch))
        console.document(batch_output.document([batch]))


def _drafted(console: Console, requests: RequestFile, options: dict[str, Any]) -> MessageBatch:
    try:
        return MessageBatch.objects.create_draft(
            requests,
            kind=options["kind"],
            label=options["label"],
            account=options["account"],
            progress=lambda count: console.progress(f"{batch_output.counted(count, 'request')} drafted"),
        )
    except BadRow as error:
        problem = str(error)
    except InvalidRequest as error:
        problem = requests.explain(error)
    raise CommandError(f"{problem}. Nothing was drafted.")
