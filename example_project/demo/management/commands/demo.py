"""`manage.py demo`: the main job, end to end, with real processes."""

from __future__ import annotations

import contextlib
import sys
import time
from argparse import ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError
from rich.console import Console

from demo import documents, endpoint, report, run, serving
from demo.display import Display
from demo.processes import Interrupted, ProcessDied, Processes
from django_claude_batches import services
from django_claude_batches.models import MessageBatch, State

EXAMPLES = """\
examples:
  manage.py demo                          Python's language reference, on the emulator
  manage.py demo --input requests.jsonl   your own requests, one {"custom_id": …, "params": {…}} a line
  manage.py demo --serve                  and keep the admin up afterwards

exit codes: 0 if the ledger balanced, 1 if not or if anything failed, 130 or 143 if interrupted
"""


class Command(BaseCommand):
    help = "Draft a batch, have a real Celery worker and beat send, poll and ingest it, and show what came back."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, epilog=EXAMPLES, **kwargs)
        parser.formatter_class = RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--input", metavar="FILE.jsonl", help="requests in the API's own format; - is stdin")
        parser.add_argument("--processes", type=_at_least_one, default=2, help="of the worker (default: 2)")
        parser.add_argument("--rows", type=int, default=20, help="of the table of results (default: 20)")
        parser.add_argument("--timeout", type=float, metavar="SECONDS", help="default: 1800; with --live 90,000")
        parser.add_argument("--serve", action="store_true", help="keep the admin up, with a user, until Ctrl-C")
        parser.add_argument("--live", action="store_true", help="send to Anthropic with your key: this is billed")

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(file=sys.stdout, highlight=False)
        try:
            with run.alone(settings.VAR), Processes(settings.VAR, cwd=settings.BASE_DIR) as processes:
                self._run(console, processes, options)
        except ProcessDied as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(f"The database: {error}") from error
        except Interrupted:
            console.print("Stopped; all its processes have ended.")
            raise

    def _run(self, console: Console, processes: Processes, options: dict[str, Any]) -> None:
        began = time.monotonic()
        run.check_broker()
        call_command("migrate", verbosity=0, interactive=False)
        chosen = endpoint.choose(live=options["live"])
        batch = _draft(options["input"], chosen.account)
        env = run.environment(settings.BASE_DIR)
        if chosen.is_emulator:
            env["DEMO_EMULATOR_URL"] = run.start_emulator(processes, env)
        run.start_celery(processes, env, var=settings.VAR, concurrency=options["processes"])
        _introduce(console, batch, env.get("DEMO_EMULATOR_URL"))
        with _taken_back_if_unsent(batch):
            services.submit(batch)
            timeout = options["timeout"] or (90_000 if options["live"] else 1800)
            with Display(console) as display:
                run.watch(batch, processes, display, timeout=timeout)
        _tell(console, batch, rows=options["rows"], seconds=time.monotonic() - began)
        if options["serve"]:
            _serve(console, batch, processes, env)
        else:
            console.print(f"In the admin: {serving.admin_url(batch)}", soft_wrap=True)
            console.print("(demo --serve keeps it up, with a user who can log in.)")
        if not report.is_balanced(batch):
            raise CommandError(f"Batch {batch} is: {State(batch.state).label}. {batch.explanation} {batch.last_error}")


def _draft(path: str | None, account: str) -> MessageBatch:
    return documents.draft_topics(account) if path is None else documents.draft_file(path, account)


def _introduce(console: Console, batch: MessageBatch, emulator: str | None) -> None:
    where = f"the emulator at {emulator}" if emulator else "the API, with your key"
    text = f"Batch #{batch.pk}: {batch.request_count:,} requests, {batch.body_bytes:,} bytes, for {where}."
    console.print(f"{text}\nThe logs of its processes are in {settings.VAR}.", soft_wrap=True, markup=False)


@contextlib.contextmanager
def _taken_back_if_unsent(batch: MessageBatch) -> Iterator[None]:
    """Leave no batch queued behind: the next worker would send it."""
    try:
        yield
    finally:
        batch.refresh_from_db()
        if batch.state == State.QUEUED:
            services.cancel(batch)


def _tell(console: Console, batch: MessageBatch, *, rows: int, seconds: float) -> None:
    report.show_results(console, batch, rows=rows)
    report.show_failures(console, batch)
    report.show_totals(console, batch, seconds=seconds)


def _serve(console: Console, batch: MessageBatch, processes: Processes, env: dict[str, str]) -> None:
    """Keep the admin, the worker and beat up until somebody ends it."""
    port = serving.free_port()
    password = serving.make_user()
    serving.serve(processes, env, port=port)
    console.print(f"In the admin: {serving.admin_url(batch, port)}", soft_wrap=True)
    console.print(f"Log in as {serving.USER} with the password {password} (Ctrl-C ends it).", markup=False)
    with contextlib.suppress(Interrupted):
        while True:
            processes.check()
            time.sleep(run.LOOK)


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ArgumentTypeError(f"{text}: at least 1")
    return number
