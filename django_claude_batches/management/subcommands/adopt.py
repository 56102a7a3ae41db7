from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django_claude_batches import conf, services, tasks
from django_claude_batches.management import showing
from django_claude_batches.management.console import Console
from django_claude_batches.management.naming import batch_name, found, remote_id
from django_claude_batches.management.subcommand import Subcommand


class Adopt(Subcommand):
    name = "adopt"
    help = (
        "Take over a batch that Anthropic has: one made elsewhere, or, with --for-batch, the one that an unconfirmed "
        "batch turned out to be, which is checked first."
    )
    example = "manage.py claude_batches adopt msgbatch_013Zva2CMHLNnXjNJJKqJ2EF --for-batch 12"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=remote_id, metavar="ID", help="the batch's id at Anthropic")
        whose = parser.add_mutually_exclusive_group()
        whose.add_argument("--for-batch", type=batch_name, metavar="BATCH", help="the unconfirmed batch of ours")
        whose.add_argument("--account", help="whose key sees it (default: default)")

    def run(self, console: Console, options: dict[str, Any]) -> None:
        ours = None if options["for_batch"] is None else found([options["for_batch"]])[0]
        account = options["account"] or conf.DEFAULT_ACCOUNT
        batch = services.adopt(options["id"], for_batch=ours, account=account)
        tasks.kick()
        console.say(showing.line(batch))
        console.document(showing.document([batch]))
