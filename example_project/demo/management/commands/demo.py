"""`manage.py demo`: the main job, end to end, with real processes."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError
from rich.console import Console

from demo import documents, endpoint, live, run, serving
from demo.claude_jobs import TagReviewsAtEmulator, TagReviewsLive
from demo.display import Display
from demo.endpoint import Endpoint
from demo.errand import Errand
from demo.of_file import OfFile
from demo.of_job import OfJob
from demo.processes import Interrupted, ProcessDied, Processes

EXAMPLES = """\
examples:
  manage.py demo                          the job of the app `reviews`, over Python's language reference
  manage.py demo --input requests.jsonl   your own requests, one {"custom_id": …, "params": {…}} a line
  manage.py demo --input reviews.csv --prompt "Tag this review: {review}"
                                          a question about each row of a table, whose first row names its columns
  manage.py demo --serve                  and keep the admin up afterwards
  manage.py demo --admin                  only the admin, with what earlier demos left: nothing is sent
  manage.py demo --live                   three requests to Anthropic, with your key, once you have agreed to the cost

exit codes: 0 if the ledger balanced and all was delivered, 1 if not or if anything failed, 130 or 143 if interrupted
"""


class Command(BaseCommand):
    help = "Have a real Celery worker and beat draft, send, fetch and deliver a job's rows, and show what came of it."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, epilog=EXAMPLES, **kwargs)
        parser.formatter_class = RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--input", metavar="FILE", help="requests in the API's own format, or CSV; - is stdin")
        parser.add_argument("--prompt", metavar="TEXT", help="for CSV: the question, with {columns} in it")
        parser.add_argument("--processes", type=live.at_least_one, default=2, help="of the worker (default: 2)")
        parser.add_argument("--rows", type=live.at_least_one, default=20, help="of the table of results (default: 20)")
        parser.add_argument("--timeout", type=float, metavar="SECONDS", help="default: 1800; with --live 90,000")
        parser.add_argument("--serve", action="store_true", help="keep the admin up, with a user, until Ctrl-C")
        parser.add_argument("--admin", action="store_true", help="only serve the admin, until Ctrl-C; nothing is sent")
        live.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(file=sys.stdout, highlight=False)
        _check(options)
        try:
            with run.alone(settings.VAR), Processes(settings.VAR, cwd=settings.BASE_DIR) as processes:
                if options["admin"]:
                    call_command("migrate", verbosity=0, interactive=False)
                    _serve(console, "", processes, run.environment(settings.BASE_DIR))
                else:
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
        errand = _errand(options, chosen)
        if options["live"]:
            live.agree(console, errand, chosen.url, is_agreed=options["yes"])
        env = run.environment(settings.BASE_DIR)
        if chosen.is_emulator:
            env["DEMO_EMULATOR_URL"] = run.start_emulator(processes, env)
        run.start_celery(processes, env, var=settings.VAR, concurrency=options["processes"])
        try:
            errand.begin()
            _introduce(console, errand, chosen.url or f"the emulator at {env['DEMO_EMULATOR_URL']}")
            timeout = options["timeout"] or (90_000 if options["live"] else 1800)
            with Display(console, unit=errand.unit) as display:
                run.watch(errand, processes, display, timeout=timeout)
        except BaseException:
            errand.leave()
            raise
        errand.tell(console, rows=options["rows"], seconds=time.monotonic() - began)
        if chosen.is_emulator:
            console.print("Nothing was billed: the emulator answered. Anthropic would bill about this cost.")
        if options["serve"]:
            _serve(console, errand.path(), processes, env)
        else:
            again = shlex.join([Path(sys.executable).name, *sys.argv[:1], "demo", "--admin"])
            console.print(f"To see it in the admin: {again}", soft_wrap=True, markup=False)
        if problem := errand.problem():
            raise CommandError(problem)


def _errand(options: dict[str, Any], chosen: Endpoint) -> Errand:
    path, prompt = options["input"], options["prompt"]
    most = live.most_topics(options)
    if path is not None:
        return OfFile(documents.draft_file(path, chosen.account, prompt))
    documents.put_reviews(most=most)
    return OfJob(TagReviewsAtEmulator if chosen.is_emulator else TagReviewsLive)


def _check(options: dict[str, Any]) -> None:
    """Raise CommandError for options that do not go together, and for a file that cannot be read."""
    path = options["input"]
    if options["timeout"] is not None and options["timeout"] <= 0:
        raise CommandError("--timeout: more than 0 seconds.")
    if options["prompt"] is not None and path is None:
        raise CommandError("--prompt is about the rows of a CSV file: give --input FILE.csv.")
    if options["requests"] is not None and path is not None:
        raise CommandError("--requests is for the language reference: a file of --input is sent whole.")
    if options["admin"] and (path is not None or options["serve"] or options["live"]):
        raise CommandError("--admin sends nothing: leave out --input, --serve and --live.")
    if path not in {None, "-"}:
        try:
            Path(path).open("rb").close()
        except OSError as error:
            raise CommandError(f"--input {path}: {error.strerror or error}") from error


def _introduce(console: Console, errand: Errand, where: str) -> None:
    text = f"{errand.introduction()}, for {where}."
    console.print(f"{text}\nThe logs of its processes are in {settings.VAR}.", soft_wrap=True, markup=False)


def _serve(console: Console, path: str, processes: Processes, env: dict[str, str]) -> None:
    """Serve the admin, beside the processes that run already, until the command is ended."""
    port = serving.free_port()
    password = serving.make_user()
    serving.serve(processes, env, port=port)
    console.print(f"In the admin: {serving.admin_url(path, port)}", soft_wrap=True)
    console.print(f"Log in as {serving.USER} with the password {password} (Ctrl-C ends it).", markup=False)
    with contextlib.suppress(Interrupted):
        while True:
            processes.check()
            time.sleep(run.LOOK)
