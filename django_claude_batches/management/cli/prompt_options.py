"""The command-line options for the prompt of a table."""

from __future__ import annotations

import contextlib
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import CommandError

from django_claude_batches.request_files import DELIMITERS, BadPrompt, Prompt, Question, read_schema
from django_claude_batches.request_files.prompt import DEFAULT_MAX_TOKENS

STDIN = "-"
OF_A_QUESTION = ("model", "max_tokens", "system", "schema", "delimiter", "name_by", "keep_cells")

# Options whose value has another name.
OPTIONS = {"keep_cells": "without_cells"}


def add_question(parser: ArgumentParser) -> None:
    asked = parser.add_argument_group("a CSV file", "Each row below the first is asked the same question.")
    asked.add_argument(
        "--prompt", metavar="TEXT", help="the question, with the names of columns in braces: 'Tag this: {review}'"
    )
    asked.add_argument("--model", help="such as claude-haiku-4-5")
    tokens = f"of each answer at most (default: {DEFAULT_MAX_TOKENS:,})"
    asked.add_argument("--max-tokens", type=int, metavar="N", help=tokens)
    asked.add_argument("--system", metavar="TEXT", help="the system prompt")
    asked.add_argument("--schema", metavar="FILE.json", help="a JSON schema that each answer has to fit")
    asked.add_argument("--delimiter", choices=DELIMITERS, help="between the cells (default: guessed from the file)")
    asked.add_argument("--name-by", metavar="COLUMN", help="name the requests by this column (default: custom_id)")
    asked.add_argument(
        "--without-cells",
        dest="keep_cells",
        action="store_const",
        const=False,
        help="do not keep the columns of the file for the export",
    )


def question(options: dict[str, Any]) -> Question | None:
    """Return the prompt of the rows, None for a file in the API's format; raise CommandError for incomplete options."""
    given = {name: options[name] for name in OF_A_QUESTION if options[name] is not None}
    if options["prompt"] is None:
        if given:
            option = OPTIONS.get(name := next(iter(given)), name).replace("_", "-")
            raise CommandError(f"--{option} is for CSV files, and needs --prompt. Nothing was drafted.")
        if options["file"].lower().endswith(".csv"):
            raise CommandError(
                f"{options['file']} is a table and needs --prompt, which is sent for each row. Nothing was drafted."
            )
        return None
    if not given.get("model"):
        raise CommandError("--prompt needs --model, such as claude-haiku-4-5. Nothing was drafted.")
    if given.get("max_tokens", 1) < 1:
        raise CommandError("--max-tokens must be at least 1. Nothing was drafted.")
    try:
        if "schema" in given:
            with opened(given["schema"]) as file:
                given["schema"] = read_schema(file.read().decode(errors="replace"))
        return Question(Prompt(options["prompt"]), **given)
    except BadPrompt as error:
        problem = str(error)
    raise CommandError(f"{problem} Nothing was drafted.")


def opened(name: str) -> contextlib.AbstractContextManager[BinaryIO]:
    """Open a file, or standard input for `-`; raise CommandError if it cannot be read."""
    if name == STDIN:
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return Path(name).open("rb")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
    raise CommandError(f"Cannot read {name}: {reason}. Nothing was drafted.")
