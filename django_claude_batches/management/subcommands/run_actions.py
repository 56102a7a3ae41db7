"""The sub-commands that record an intent on runs of jobs: a worker, or `tick`, acts on it."""

from __future__ import annotations

from abc import abstractmethod
from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.db import transaction

from django_claude_batches import services, tasks
from django_claude_batches.management.cli import run_output
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.cost_guard import add_yes, refuse_much
from django_claude_batches.management.cli.lookup import found_runs, run_name
from django_claude_batches.management.cli.subcommand import Subcommand
from django_claude_batches.models import JobRun
from django_claude_batches.services import cost_confirmation


def add_skip_unaskable(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--skip-unaskable",
        action="store_true",
        help="leave out and count rows that cannot be asked; otherwise the first one pauses the run",
    )


class RunWish(Subcommand):
    """A sub-command that records an intent on all named runs, or on none if one does not allow it."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("runs", nargs="+", type=run_name, metavar="RUN", help="its number")

    @abstractmethod
    def record(self, run: JobRun, options: dict[str, Any]) -> Any: ...

    def allow(self, runs: list[JobRun], recorded: list[Any], options: dict[str, Any]) -> None:
        """Raise CommandError, so that nothing is recorded, if the runs together must not be changed."""

    def run(self, console: Console, options: dict[str, Any]) -> None:
        runs = found_runs(options["runs"])
        with transaction.atomic(using=JobRun.objects.primary().db):
            recorded = [self.record(run, options) for run in runs]
            self.allow(runs, recorded, options)
            tasks.kick()
        run_output.show(console, runs)


class PauseRun(RunWish):
    name = "pause-run"
    help = "Stop drafting, sending and delivering runs, until they are resumed. What runs at Anthropic continues."
    example = "manage.py claude_batches pause-run 3"

    def record(self, run: JobRun, options: dict[str, Any]) -> object:
        return services.pause_run(run)


class ResumeRun(RunWish):
    name = "resume-run"
    help = "Resume paused runs where they stopped."
    example = "manage.py claude_batches resume-run 3"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        add_skip_unaskable(parser)

    def record(self, run: JobRun, options: dict[str, Any]) -> object:
        return services.resume_run(run, skip_unaskable=options["skip_unaskable"])


class CancelRun(RunWish):
    name = "cancel-run"
    help = "Stop sending runs, and cancel what is at Anthropic. What finishes is billed and delivered."
    example = "manage.py claude_batches cancel-run 3"

    def record(self, run: JobRun, options: dict[str, Any]) -> object:
        return services.cancel_run(run)


class RetryRun(RunWish):
    name = "retry-run"
    help = "Retry the rows of runs that failed for good. They are sent and billed."
    example = "manage.py claude_batches retry-run 3 --outcome refused"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--outcome",
            action="append",
            default=[],
            metavar="OUTCOME",
            help="which rows, such as refused or truncated; may be given several times (default: all that failed)",
        )
        add_yes(parser)

    def record(self, run: JobRun, options: dict[str, Any]) -> int:
        return services.retry_run(run, outcomes=options["outcome"])

    def allow(self, runs: list[JobRun], recorded: list[int], options: dict[str, Any]) -> None:
        if options["yes"]:
            return
        rows = sum(recorded)
        words = ["retry-run", *(str(run.pk) for run in runs), *(f"--outcome {name}" for name in options["outcome"])]
        estimate = partial(cost_confirmation.estimate_retry, runs, rows)
        refuse_much(rows, estimate, undone="Not retried", again=" ".join(words))
