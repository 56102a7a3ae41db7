"""The sub-commands for accounts: resume a paused one, and confirm to which installation its batches belong."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django_claude_batches import conf, services, tasks
from django_claude_batches.management.cli.batch_output import counted
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.subcommand import Subcommand


class Resume(Subcommand):
    name = "resume"
    help = "Resume sending for a paused account, after its cause (a refused key, a spend limit) is fixed."
    example = "manage.py claude_batches resume default"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("account", nargs="?", default=conf.DEFAULT_ACCOUNT, help="its alias (default: default)")

    def run(self, console: Console, options: dict[str, Any]) -> None:
        alias = conf.account(options["account"]).alias
        waiting = services.resume(alias)
        tasks.kick()
        console.say(f"Account {alias} sends again; {counted(waiting, 'batch', 'batches')} waiting.")
        console.document({"account": alias, "waiting": waiting})


class Confirm(Subcommand):
    name = "confirm-installation"
    help = (
        "Confirm that an account's batches belong to this installation, after its INSTALLATION was renamed or "
        "the database moved. Not in a copy of a database whose original still runs: both would act on the same "
        "batches."
    )
    example = "manage.py claude_batches confirm-installation default"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("account", nargs="?", default=conf.DEFAULT_ACCOUNT, help="its alias (default: default)")

    def run(self, console: Console, options: dict[str, Any]) -> None:
        alias = conf.account(options["account"]).alias
        before, name = services.confirm_installation(alias), conf.installation()
        tasks.kick()
        console.say(f'Account {alias} is "{name}"\'s now; it was "{before}"\'s.')
        console.document({"account": alias, "installation": name, "before": before})
