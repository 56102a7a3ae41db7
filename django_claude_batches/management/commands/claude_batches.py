"""`manage.py claude_batches`: batches from a shell, from cron, and on servers without Celery."""

from __future__ import annotations

import argparse
import copy
import textwrap
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from django_claude_batches.conf import ConfigurationError
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.exit_codes import LEGEND, Exit
from django_claude_batches.management.cli.subcommand import Subcommand
from django_claude_batches.management.subcommands.account_actions import Confirm, Resume
from django_claude_batches.management.subcommands.adopt import Adopt
from django_claude_batches.management.subcommands.audit import Audit
from django_claude_batches.management.subcommands.batch_actions import (
    Abandon,
    Cancel,
    DeclareLost,
    Delete,
    Reingest,
    Submit,
)
from django_claude_batches.management.subcommands.doctor import Doctor
from django_claude_batches.management.subcommands.draft import Draft
from django_claude_batches.management.subcommands.erase import Erase
from django_claude_batches.management.subcommands.export import ExportResults
from django_claude_batches.management.subcommands.purge import Purge
from django_claude_batches.management.subcommands.reconcile import Reconcile
from django_claude_batches.management.subcommands.retry import Retry
from django_claude_batches.management.subcommands.roles import Roles
from django_claude_batches.management.subcommands.run import Run
from django_claude_batches.management.subcommands.run_actions import CancelRun, PauseRun, ResumeRun, RetryRun
from django_claude_batches.management.subcommands.status import Runs, Status
from django_claude_batches.management.subcommands.tick import Tick
from django_claude_batches.management.subcommands.usage import Usage
from django_claude_batches.management.subcommands.wait import Wait
from django_claude_batches.sanitize import printable_lines

# In the order in which `--help` lists them: the order of a batch's life.
ALL: tuple[Subcommand, ...] = (
    Draft(),
    Submit(),
    Status(),
    Wait(),
    ExportResults(),
    Tick(),
    Run(),
    Runs(),
    PauseRun(),
    ResumeRun(),
    CancelRun(),
    RetryRun(),
    Usage(),
    Cancel(),
    Delete(),
    Reingest(),
    Retry(),
    Reconcile(),
    Adopt(),
    Audit(),
    Doctor(),
    Purge(),
    Erase(),
    Abandon(),
    DeclareLost(),
    Resume(),
    Confirm(),
    Roles(),
)
BY_NAME = {subcommand.name: subcommand for subcommand in ALL}


class Command(BaseCommand):
    help = "Draft, submit, watch and fetch Claude batches. See `claude_batches SUB-COMMAND --help`."

    def add_arguments(self, parser: CommandParser) -> None:
        # Not as arguments of create_parser: django-configurations replaces that method by one without arguments.
        parser.epilog = LEGEND
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        words = parser.add_subparsers(dest="word", metavar="SUB-COMMAND", required=True)
        for subcommand in ALL:
            below = words.add_parser(
                subcommand.name,
                help=subcommand.help.partition(". ")[0].removesuffix("."),
                description=textwrap.fill(subcommand.help, 78),
                epilog=f"example:\n  {subcommand.example}\n\n{LEGEND}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            subcommand.add_arguments(below)
            below.add_argument("--json", action="store_true", help="one JSON document on standard output, nothing else")

    def create_parser(self, *args: Any, **kwargs: Any) -> CommandParser:
        """Accept the options of every command after the sub-command too.

        These are Django's options, and those that other packages add when they replace this method.
        """
        parser = super().create_parser(*args, **kwargs)
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for below in action.choices.values():
                    _take_options(parser, below)
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._handle(**options)
        except CommandError as error:  # Django writes it to standard error
            # A traceback has several lines. The mark keeps outside text from imitating a line of the command.
            error.args = (printable_lines(str(error)).replace("\n", "\n  | "),)
            raise

    def _handle(self, *, word: str, json: bool, **options: Any) -> None:
        console = Console(self.stdout, self.stderr, as_json=json)
        try:
            BY_NAME[word].run(console, options)
        except (ClaudeBatchesError, ConfigurationError) as error:
            raise CommandError(str(error), returncode=Exit.FAILED) from error
        except DatabaseError as error:
            raise CommandError(f"The database: {error}", returncode=Exit.FAILED) from error
        except OSError as error:
            raise CommandError(f"This machine: {error}", returncode=Exit.FAILED) from error
        except KeyboardInterrupt as error:
            raise CommandError("Interrupted.", returncode=Exit.INTERRUPTED) from error
        finally:
            console.clear()


def _take_options(parser: argparse.ArgumentParser, below: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if action.option_strings and not below._option_string_actions.keys() & {*action.option_strings}:
            taken = copy.copy(action)
            taken.default = taken.help = argparse.SUPPRESS  # the default is set by the parser above
            taken.required = False
            below._add_action(taken)
