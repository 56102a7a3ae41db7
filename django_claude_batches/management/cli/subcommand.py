"""Base classes of the sub-commands."""

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
    """A sub-command of `manage.py claude_batches`; `example` is shown by its `--help`."""

    name: ClassVar[str]
    help: ClassVar[str]
    example: ClassVar[str]

    @abstractmethod
    def add_arguments(self, parser: ArgumentParser) -> None: ...

    @abstractmethod
    def run(self, console: Console, options: dict[str, Any]) -> None:
        """Run it. Raise CommandError, with a `returncode`, or any error of the package."""


class Wish(Subcommand):
    """A sub-command that records an intent on all named rows, or on none if one does not allow it."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_batches(parser)

    def check(self, batches: list[MessageBatch], options: dict[str, Any]) -> None:
        """Raise CommandError if nothing may be recorded."""

    @abstractmethod
    def record(self, batch: MessageBatch, options: dict[str, Any]) -> object: ...

    def run(self, console: Console, options: dict[str, Any]) -> None:
        batches = found(options["batches"])
        self.check(batches, options)
        record_all(batches, lambda batch: self.record(batch, options))
        batch_output.show(console, batches)


def record_all(batches: list[MessageBatch], record: Callable[[MessageBatch], object]) -> None:
    """Record an intent on all the batches or on none, and wake a worker."""
    with transaction.atomic(using=MessageBatch.objects.primary().db):
        for batch in batches:
            record(batch)
        tasks.kick()
