"""What each sub-command is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any, ClassVar

from django.db import transaction

from django_claude_batches import tasks
from django_claude_batches.management.cli import batch_output
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.lookup import add_batches, found
from django_claude_batches.models import MessageBatch


class Subcommand(ABC):
    """One word after `manage.py claude_batches`; `example` is shown by its `--help`."""

    name: ClassVar[str]
    help: ClassVar[str]
    example: ClassVar[str]

    @abstractmethod
    def add_arguments(self, parser: ArgumentParser) -> None: ...

    @abstractmethod
    def run(self, console: Console, options: dict[str, Any]) -> None:
        """Do it. Raise CommandError, with a `returncode`, or any error of the package's for what went wrong."""


class Wish(Subcommand):
    """A verb that is recorded on rows: on all that were named, or, if one forbids it, on none."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_batches(parser)

    def check(self, batches: list[MessageBatch], options: dict[str, Any]) -> None:
        """Raise CommandError for what is not to be recorded of any."""

    @abstractmethod
    def record(self, batch: MessageBatch, options: dict[str, Any]) -> object: ...

    def run(self, console: Console, options: dict[str, Any]) -> None:
        batches = found(options["batches"])
        self.check(batches, options)
        record_all(batches, lambda batch: self.record(batch, options))
        for batch in batches:
            console.say(batch_output.line(batch))
        console.document(batch_output.document(batches))


def record_all(batches: list[MessageBatch], record: Callable[[MessageBatch], object]) -> None:
    """Record a wish on all the batches or on none, and have a worker look at once."""
    with transaction.atomic(using=MessageBatch.objects.primary().db):
        for batch in batches:
            record(batch)
        tasks.kick()
