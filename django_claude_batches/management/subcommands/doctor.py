from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from django_claude_batches import celery_checks, conf, services, tasks
from django_claude_batches.management.cli.batch_output import counted
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.exit_codes import Exit
from django_claude_batches.management.cli.subcommand import Subcommand
from django_claude_batches.services.doctor.report import CheckResult, Diagnosis, DiagnosisBuilder

MARKS = {CheckResult.OK: "ok", CheckResult.WARNING: "warn", CheckResult.FAILED: "FAIL", CheckResult.SKIPPED: "-"}


class Doctor(Subcommand):
    name = "doctor"
    help = (
        "Check everything that batches need (the settings, the database, the ticks, the broker, each account's "
        "key), and report the problems and what to do about them. Free, and changes nothing. The exit code is "
        "4 if there are problems, and 0 if there are only warnings."
    )
    example = "manage.py claude_batches doctor --account default"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", help="its alias (default: each account in use)")
        parser.add_argument("--offline", action="store_true", help="do not ask Anthropic")

    def run(self, console: Console, options: dict[str, Any]) -> None:
        def progress(what: str) -> None:
            console.progress(f"Looking at {what}")

        found = services.diagnose(options["account"], offline=options["offline"], progress=progress)
        progress("the broker")
        found += _broker()
        _show(console, found)
        counts = Counter(one.verdict for one in found)
        console.document(
            {
                "findings": [asdict(one) for one in found],
                "counts": {verdict: counts[verdict] for verdict in CheckResult},
            }
        )
        if failed := counts[CheckResult.FAILED]:
            raise CommandError(f"{counted(failed, 'problem')} found.", returncode=Exit.NEEDS_A_PERSON)


def _broker() -> Iterator[Diagnosis]:
    whole = DiagnosisBuilder()
    try:
        is_used = conf.kick()
    except conf.ConfigurationError:
        yield whole.skipped("broker", "The settings do not say whether there is one.")
        return
    if not is_used:
        yield whole.skipped("broker", "KICK is False: nothing here speaks to one.")
        return
    yield from whole.from_messages(
        "celery", celery_checks.check_celery(app_configs=None), otherwise="The project's app is loaded."
    )
    url, problem = tasks.ask_broker()
    if problem:
        remedy = "Start it, or set CELERY_BROKER_URL. Without Celery: KICK = False, and `claude_batches tick --loop`."
        yield whole.failed("broker", f"{url or 'It'} does not answer. {problem}", remedy)
    else:
        yield whole.ok("broker", f"{url} answers.")


def _show(console: Console, found: list[Diagnosis]) -> None:
    titles = [_title(one) for one in found]
    width = max(map(len, titles))
    for one, title in zip(found, titles, strict=True):
        console.say(f"{MARKS[one.verdict]:<4}  {title:<{width}}  {one.words}")
        if one.remedy:
            console.say(f"      {'':<{width}}  What to do: {one.remedy}")
    if not any(one.verdict in {CheckResult.FAILED, CheckResult.WARNING} for one in found):
        console.say("No problem found.")


def _title(one: Diagnosis) -> str:
    name = one.name.replace("_", " ")
    return f"{name} of {one.about}" if one.about else name
