from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from django_claude_batches.management.cli.batch_output import counted
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.exit_codes import Exit
from django_claude_batches.management.cli.graceful_stop import Interruption
from django_claude_batches.management.cli.subcommand import Subcommand
from django_claude_batches.management.cli.tick_loop import Loop
from django_claude_batches.management.cli.tick_steps import Work
from django_claude_batches.schedule import TICK_SECONDS


class Tick(Subcommand):
    name = "tick"
    help = (
        "Do what is due for all batches, in this process and without Celery: send, poll, fetch, announce, draft the "
        "rows of jobs and deliver their results, check and draft uploaded files, audit each account once a day, and "
        "purge it by RETENTION. Run it from cron every minute, or with --loop, which looks every "
        f"{TICK_SECONDS} s, sooner while work is due, until Ctrl-C or TERM; the current batch is finished first. With "
        "several accounts --loop makes each one's calls in a thread of its own: none waits for another one's server."
    )
    example = "manage.py claude_batches tick --loop"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--loop", action="store_true", help="go on until Ctrl-C or TERM")

    def run(self, console: Console, options: dict[str, Any]) -> None:
        with Interruption() as interruption:
            work = Work(console, interruption)
            if options["loop"]:
                console.say(f"Looking every {TICK_SECONDS} s. Ctrl-C or TERM stops it.")
                Loop(work, interruption).run()
            else:
                work.everything()
        done = len(work.advanced)
        console.say(f"Advanced {counted(done, 'batch', 'batches')}; {len(work.failed):,} failed.")
        console.document({"advanced": sorted(set(work.advanced)), "failed": work.failed})
        if work.failed and not options["loop"]:
            raise CommandError(f"{counted(len(work.failed), 'batch', 'batches')} failed.", returncode=Exit.FAILED)
