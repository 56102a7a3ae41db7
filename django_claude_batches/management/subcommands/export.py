from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandError

from django_claude_batches.export import cells
from django_claude_batches.export.formats import FORMATS, CsvExport, Export, JsonlExport
from django_claude_batches.export.selection import RESULT_FILTERS, ResultSelection, missing_rows
from django_claude_batches.management.cli import batch_output
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.exit_codes import Exit
from django_claude_batches.management.cli.lookup import batch_name, found
from django_claude_batches.management.cli.output_file import STDOUT, written
from django_claude_batches.management.cli.subcommand import Subcommand
from django_claude_batches.models import BatchResult, MessageBatch, State


class ExportResults(Subcommand):
    name = "export"
    help = (
        "Write the results of a batch to a file: JSONL, each line as the API sent it, or CSV for spreadsheets. "
        "The file appears when it is complete; an existing one is replaced only with --force. The export is "
        "logged on the batch's timeline."
    )
    example = "manage.py claude_batches export 12 --format csv --outcome errored --output errors.csv"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("batch", type=batch_name, metavar="BATCH", help="its number here, or its id at Anthropic")
        parser.add_argument("--format", choices=FORMATS, default=JsonlExport.suffix, help="default: jsonl")
        parser.add_argument("--output", default=STDOUT, metavar="FILE", help="default: -, standard output")
        parser.add_argument("--force", action="store_true", help="replace FILE if it exists")
        parser.add_argument(
            "--outcome", nargs="+", choices=RESULT_FILTERS, default=[], help="only these (default: all)"
        )
        parser.add_argument("--error-type", nargs="+", metavar="TYPE", default=[], help="only errors of these types")
        parser.add_argument("--of-another-tier", action="store_true", help="only what was not billed at the batch rate")
        parser.add_argument("--of-unknown-cost", action="store_true", help="only what has no known cost")
        parser.add_argument(
            "--search", metavar="TEXT", default="", help="only what has a custom_id that begins with this"
        )
        parser.add_argument(
            "--columns",
            type=_columns,
            metavar="NAME,…",
            help=f"of a CSV, any of {', '.join(cells.COLUMNS)} (default: {','.join(cells.DEFAULT_COLUMNS)}); "
            "cells are the columns of the file that the batch was made of, output the members of a JSON Schema",
        )
        parser.add_argument(
            "--keep-formulas",
            action="store_true",
            help="write no apostrophe before texts of a CSV that a spreadsheet would run as a formula",
        )

    def run(self, console: Console, options: dict[str, Any]) -> None:
        _check(console, options)
        [batch] = found([options["batch"]])
        selection = _narrowing(options)
        export = _export(batch, selection, options)
        with written(options["output"], replace=options["force"]) as file:
            batch.log_event("exported", f"{_told(options, selection)}, on the command line")
            for chunk in export:
                file.write(chunk)
                console.progress(f"{batch_output.counted(export.rows, 'result')} written")
        _warn(console, batch, export)
        if options["output"] != STDOUT:
            console.say(f"{batch_output.counted(export.rows, 'result')} of {batch} in {options['output']}.")
        console.document(
            {
                "id": batch.pk,
                "state": batch.state,
                "missing_count": batch.missing_count,
                "format": options["format"],
                "output": options["output"],
                "rows": export.rows,
                "left_out": export.left_out,
            }
        )


def _check(console: Console, options: dict[str, Any]) -> None:
    """Refuse options that contradict each other, which argparse cannot."""
    wrong = ""
    if options["columns"] and options["format"] != CsvExport.suffix:
        wrong = "argument --columns: only with --format csv; JSONL has all of each result"
    if options["keep_formulas"] and options["format"] != CsvExport.suffix:
        wrong = "argument --keep-formulas: only with --format csv; JSONL has all texts as they are"
    if console.as_json and options["output"] == STDOUT:
        wrong = "argument --json: only with --output FILE; standard output has the results"
    if wrong:
        raise CommandError(wrong, returncode=Exit.WRONG_USAGE)


def _export(batch: MessageBatch, selection: ResultSelection, options: dict[str, Any]) -> Export:
    results = selection.apply(BatchResult.objects.primary().filter(batch=batch))
    if options["format"] != CsvExport.suffix:
        return JsonlExport(results)
    columns = options["columns"] or cells.default_columns(batch)
    return CsvExport(
        results,
        columns,
        missing=missing_rows(batch, selection, columns),
        escape_formulas=not options["keep_formulas"],
    )


def _narrowing(options: dict[str, Any]) -> ResultSelection:
    return ResultSelection(
        outcomes=options["outcome"],
        error_types=options["error_type"],
        of_another_tier=options["of_another_tier"],
        of_unknown_cost=options["of_unknown_cost"],
        beginning=options["search"],
    )


def _told(options: dict[str, Any], selection: ResultSelection) -> str:
    return ", ".join([options["format"].upper(), *selection.describe(), *(options["columns"] or [])])


def _warn(console: Console, batch: MessageBatch, export: Export) -> None:
    """Report what is missing in the file, of what was selected."""
    if batch.state != State.INGESTED or batch.missing_count:
        console.complain(f"Not all results are here. {batch_output.line(batch)}")
    if batch.result_purge_note:
        console.complain(f"The answers of {batch} were purged. {batch.result_purge_note}")
    if export.left_out:
        console.complain(f"Left out, because they were purged: {batch_output.counted(export.left_out, 'result')}.")


def _columns(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in cells.COLUMNS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r:.80} is no column: {', '.join(cells.COLUMNS)} are")
    return names
