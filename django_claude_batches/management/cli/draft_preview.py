"""What would be drafted, and every row that keeps it from being."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError

from django_claude_batches import conf
from django_claude_batches.estimates import Estimate
from django_claude_batches.management.cli.batch_output import counted, estimate_data, estimated
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.exit_codes import Exit
from django_claude_batches.request_files import RequestFile, Survey


def dry_run(console: Console, file: RequestFile) -> None:
    """Read the file to its end and store nothing; raise CommandError if it could not be drafted."""
    survey = Survey()
    for row in file.rows():
        if problem := survey.take(row):
            console.say(f"{file.name}, {file.place(row.number)}: {problem}.")
        if survey.is_full:
            break
        if survey.rows % 1000 == 0:
            console.progress(f"{counted(survey.rows, 'row')} checked")
    for sample in survey.samples:
        console.say(f"{sample['custom_id']}: {sample['params']}")
    console.say(f"{counted(survey.requests, 'request')}, {survey.bytes:,} bytes; {survey.bad_count:,} bad.")
    console.document(_document(survey))
    if survey.bad_count or not survey.requests:
        reason = counted(survey.bad_count, "bad row") if survey.bad_count else "no request in it"
        raise CommandError(f"{file.name} cannot be drafted: {reason}.", returncode=Exit.FAILED)
    console.say(f"It can be drafted: nothing was stored so far. Estimate: {estimated(_estimate(survey))}.")


def _estimate(survey: Survey) -> Estimate:
    return survey.expected.estimate(conf.prices())


def _document(survey: Survey) -> dict[str, Any]:
    return {
        "dry_run": True,
        "rows": survey.rows,
        "request_count": survey.requests,
        "body_bytes": survey.bytes,
        "estimate": estimate_data(_estimate(survey)),
        "bad_count": survey.bad_count,
        "bad_rows": [{"number": number, "reason": reason} for number, reason in survey.bad_rows],
        "first": [{"custom_id": sample["custom_id"], "params": sample["params"]} for sample in survey.samples],
    }
