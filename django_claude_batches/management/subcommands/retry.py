from __future__ import annotations

import argparse
from typing import Any

from django_claude_batches import services
from django_claude_batches.management.cli import batch_output
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.cost_guard import add_yes, refuse_large
from django_claude_batches.management.cli.lookup import batch_name, found
from django_claude_batches.management.cli.subcommand import Subcommand, record_all
from django_claude_batches.services.retries import RETRYABLE_OUTCOMES


class Retry(Subcommand):
    name = "retry"
    help = (
        "Draft a new batch of a finished one's requests that failed, as they were or with another max_tokens. Nothing "
        "is sent without --submit."
    )
    example = "manage.py claude_batches retry 12 --outcome truncated --max-tokens 4096"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("batch", type=batch_name, metavar="BATCH", help="its number here, or its id at Anthropic")
        parser.add_argument(
            "--outcome",
            action="append",
            choices=RETRYABLE_OUTCOMES,
            metavar="OUTCOME",
            help=f"which requests: {', '.join(RETRYABLE_OUTCOMES)}; may be given several times "
            "(default: errored, expired and missing)",
        )
        parser.add_argument(
            "--max-tokens",
            type=_at_least_one,
            metavar="N",
            help="in place of what they had; with truncated ones, of these alone",
        )
        parser.add_argument("--submit", action="store_true", help="queue it at once: this is billed once sent")
        add_yes(parser)

    def run(self, console: Console, options: dict[str, Any]) -> None:
        [batch] = found([options["batch"]])
        chosen = {} if options["outcome"] is None else {"outcomes": options["outcome"]}
        console.progress(f"Drafting what is to be retried of {batch}")
        child = services.retry(batch, max_tokens=options["max_tokens"], **chosen)
        if options["submit"]:
            refuse_large([child], yes=options["yes"])
            record_all([child], services.submit)
        again = batch_output.counted(child.request_count, "request")
        console.say(f"{again} of {batch}'s {batch.request_count:,} in a new batch:")
        batch_output.show(console, [child])


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number
