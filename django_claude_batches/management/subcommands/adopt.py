from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from django_claude_batches import conf, services, tasks
from django_claude_batches.management.cli import batch_output
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.exit_codes import Exit
from django_claude_batches.management.cli.lookup import batch_name, found, remote_id
from django_claude_batches.management.cli.subcommand import Subcommand

LEFT_OUT = "it may be an unconfirmed batch of ours; `claude_batches reconcile` shows which"


class Adopt(Subcommand):
    name = "adopt"
    help = (
        "Take over a batch that exists at Anthropic: one made elsewhere, or, with --for-batch, the remote "
        "batch of an unconfirmed one, which is verified first. --all takes over everything that the account "
        "lists, except what may be an unconfirmed batch of ours."
    )
    example = "manage.py claude_batches adopt msgbatch_013Zva2CMHLNnXjNJJKqJ2EF --for-batch 12"

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("id", nargs="?", type=remote_id, metavar="ID", help="the batch's id at Anthropic")
        what.add_argument("--all", action="store_true", help="everything that the account lists")
        whose = parser.add_mutually_exclusive_group()
        whose.add_argument("--for-batch", type=batch_name, metavar="BATCH", help="the unconfirmed batch of ours")
        whose.add_argument("--account", help="whose key sees it (default: default)")

    def run(self, console: Console, options: dict[str, Any]) -> None:
        if options["all"]:
            _adopt_all(console, options)
            return
        ours = None if options["for_batch"] is None else found([options["for_batch"]])[0]
        account = options["account"] or conf.DEFAULT_ACCOUNT
        batch = services.adopt(options["id"], for_batch=ours, account=account)
        tasks.kick()
        batch_output.show(console, [batch])


def _adopt_all(console: Console, options: dict[str, Any]) -> None:
    if options["for_batch"] is not None:
        raise CommandError("argument --for-batch: not allowed with argument --all", returncode=Exit.WRONG_USAGE)
    adopted, left_out = services.adopt_all(options["account"] or conf.DEFAULT_ACCOUNT)
    tasks.kick()
    for batch in adopted:
        console.say(batch_output.line(batch))
    console.say(f"Adopted {batch_output.counted(len(adopted), 'batch', 'batches')}.")
    for other in left_out:
        console.say(f"Left out {other}: {LEFT_OUT}.")
    outside = [{"id": other, "why": LEFT_OUT} for other in left_out]
    console.document({"batches": [batch_output.data(batch) for batch in adopted], "left_out": outside})
