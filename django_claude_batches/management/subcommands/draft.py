from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import models

from django_claude_batches import conf, services
from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.management import showing
from django_claude_batches.management.console import Console
from django_claude_batches.management.request_lines import BadLine, RequestLines
from django_claude_batches.management.subcommand import Subcommand, record_all
from django_claude_batches.models import MessageBatch

STDIN = "-"


class Draft(Subcommand):
    name = "draft"
    help = (
        'Draft a batch from a file of requests in the API\'s own format, one {"custom_id": …, "params": …} a line. '
        "Nothing is sent without --submit, and a bad line means that nothing is drafted."
    )
    example = 'manage.py claude_batches draft requests.jsonl --kind review-tags --label "Tags, by hand"'

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE.jsonl", help="the requests, in UTF-8; - reads standard input")
        parser.add_argument("--label", type=_valid("label"), default="", help="what people call it")
        parser.add_argument("--kind", type=_valid("kind"), default="", help="what it is for, for your receivers")
        parser.add_argument("--account", default=conf.DEFAULT_ACCOUNT, help="whose key it is sent with")
        parser.add_argument("--submit", action="store_true", help="queue it at once: this is billed once sent")

    def run(self, console: Console, options: dict[str, Any]) -> None:
        conf.account(options["account"])
        batch = _drafted(console, options)
        if options["submit"]:
            record_all([batch], services.submit)
        console.say(showing.line(batch))
        console.document(showing.document([batch]))


def _drafted(console: Console, options: dict[str, Any]) -> MessageBatch:
    problem = ""
    with _opened(options["file"]) as file:
        lines = RequestLines(file, name="standard input" if options["file"] == STDIN else options["file"])
        try:
            return MessageBatch.objects.create_draft(
                lines,
                kind=options["kind"],
                label=options["label"],
                account=options["account"],
                progress=lambda count: console.progress(f"{showing.counted(count, 'request')} drafted"),
            )
        except BadLine as error:
            problem = str(error)
        except InvalidRequest as error:
            problem = lines.explain(error)
    raise CommandError(f"{problem}. Nothing was drafted.")


def _opened(name: str) -> contextlib.AbstractContextManager[BinaryIO]:
    if name == STDIN:
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return Path(name).open("rb")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
    raise CommandError(f"Cannot read {name}: {reason}. Nothing was drafted.")


def _valid(column: str) -> Callable[[str], str]:
    """Give a reader for argparse that asks for what the model's column asks for."""

    field = cast("models.Field[str, str]", MessageBatch._meta.get_field(column))

    def read(text: str) -> str:
        try:
            return str(field.clean(text, None))
        except ValidationError as error:
            reason = " ".join(error.messages)
        raise argparse.ArgumentTypeError(reason)

    return read
