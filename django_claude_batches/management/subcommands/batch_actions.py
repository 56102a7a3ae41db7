"""The sub-commands that only record an intent on batches: a worker, or `tick`, acts on it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from django_claude_batches import services
from django_claude_batches.management.cli.cost_guard import add_yes, refuse_large
from django_claude_batches.management.cli.exit_codes import Exit
from django_claude_batches.management.cli.subcommand import Wish
from django_claude_batches.models import MessageBatch


class Submit(Wish):
    name = "submit"
    help = "Queue drafts, or refused and held batches, to be sent. A worker sends them: this is billed once sent."
    example = "manage.py claude_batches submit 12 13"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        add_yes(parser)
        parser.add_argument(
            "--allow-duplicate",
            action="store_true",
            help="send one held batch again that may have been billed already: it may be paid for twice",
        )

    def check(self, batches: list[MessageBatch], options: dict[str, Any]) -> None:
        refuse_large(batches, yes=options["yes"])
        if options["allow_duplicate"] and len(batches) > 1:
            raise CommandError("--allow-duplicate is for one batch at a time.", returncode=Exit.WRONG_USAGE)

    def record(self, batch: MessageBatch, options: dict[str, Any]) -> object:
        return services.submit(batch, allow_duplicate=options["allow_duplicate"])


class Cancel(Wish):
    name = "cancel"
    help = "Take queued batches back, and cancel running ones. Finished requests stay billed and are kept."
    example = "manage.py claude_batches cancel 12"

    def record(self, batch: MessageBatch, options: dict[str, Any]) -> object:
        return services.cancel(batch)


class Delete(Wish):
    name = "delete-remote"
    help = (
        "Delete batches at Anthropic. The rows here stay; it cannot be undone. A running batch is canceled and "
        "its results are fetched first."
    )
    example = "manage.py claude_batches delete-remote msgbatch_013Zva2CMHLNnXjNJJKqJ2EF"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--discard-results", action="store_true", help="delete a finished batch without fetching its results"
        )

    def record(self, batch: MessageBatch, options: dict[str, Any]) -> object:
        return services.delete_remote(batch, discard_results=options["discard_results"])


class Reingest(Wish):
    name = "reingest"
    help = (
        "Fetch the results of complete batches again. Free; stored rows are not duplicated. Your receivers are "
        "called again afterwards."
    )
    example = "manage.py claude_batches reingest 12"

    def record(self, batch: MessageBatch, options: dict[str, Any]) -> object:
        return services.reingest(batch)


class Abandon(Wish):
    name = "abandon"
    help = "Stop waiting for batches that were sent and never confirmed. They may have been billed."
    example = "manage.py claude_batches abandon 12"

    def record(self, batch: MessageBatch, options: dict[str, Any]) -> object:
        return services.abandon(batch)


class DeclareLost(Wish):
    name = "declare-lost"
    help = (
        "Stop fetching batches that Anthropic did not find three times over half an hour, where nothing proves "
        "that they were deleted, and stop waiting for held ones that may have been billed. Stored results stay."
    )
    example = "manage.py claude_batches declare-lost 12"

    def record(self, batch: MessageBatch, options: dict[str, Any]) -> object:
        return services.declare_lost(batch)
