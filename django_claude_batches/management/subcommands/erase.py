from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError

from django_claude_batches.drafting.target import content_types_of
from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.management.cli.batch_output import counted
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.exit_codes import Exit
from django_claude_batches.management.cli.subcommand import Subcommand
from django_claude_batches.models import BatchRequest
from django_claude_batches.services.retention.erase import erase_by_key
from django_claude_batches.services.retention.erase_target import EraseTarget, find_target
from django_claude_batches.services.retention.erasure import Erasure, RemoteCopy

NO_MODEL = (
    "There is no model {0}, and no content type is named {0}. If there was one, remove_stale_contenttypes has removed "
    "it: requests about its rows are deleted with their batches only."
)


class Erase(Subcommand):
    name = "erase"
    help = (
        "Remove everything that is stored about rows of this project: prompts, answers, and errors that may quote "
        "them. Counts and costs stay. It cannot be undone. For a deleted row, pass its key."
    )
    example = "manage.py claude_batches erase reviews.Review:17"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("rows", nargs="+", metavar="APP.MODEL:KEY", help="a row, such as reviews.Review:17")

    def run(self, console: Console, options: dict[str, Any]) -> None:
        rows = [_found(name) for name in options["rows"]]
        reports = [erase_by_key(row) for row in rows]
        for report in reports:
            _show(console, report)
        console.document({"rows": [_document(report) for report in reports]})
        if left := [report.target for report in reports if not report.is_complete]:
            raise CommandError(f"Not completely erased: {', '.join(left)}.", returncode=Exit.FAILED)


def _found(name: str) -> EraseTarget:
    """Return the named row; its model may have been removed."""
    label, _, key = name.partition(":")
    app, _, model_name = label.partition(".")
    if not key or not model_name:
        raise CommandError(f"{name!r} does not name a row: write app.Model:key.", returncode=Exit.WRONG_USAGE)
    content_types = content_types_of(BatchRequest.objects.primary().db)
    try:
        content_type = content_types.get_for_model(apps.get_model(app, model_name))
    except LookupError:
        stale = content_types.filter(app_label=app, model=model_name.lower()).first()
        if stale is None:
            raise CommandError(NO_MODEL.format(label), returncode=Exit.WRONG_USAGE) from None
        content_type = stale
    try:
        return find_target(content_type, key, name=name)
    except InvalidRequest as error:
        raise CommandError(f"{error}.", returncode=Exit.WRONG_USAGE) from None


def _show(console: Console, report: Erasure) -> None:
    parts = [f"{counted(report.requests, 'request')} emptied"]
    if report.from_drafts:
        parts.append(f"{report.from_drafts:,} removed from drafts")
    if report.before:
        parts.append(f"{report.before:,} already erased")
    console.say(f"{report.target}: {', '.join(parts)}.")
    for copy in report.copies:
        console.say(f"  {_at_anthropic(copy)}")
    for said in [*report.refused, *report.leased]:
        console.complain(f"{report.target}: {said}")


def _at_anthropic(copy: RemoteCopy) -> str:
    if not copy.anthropic_id:
        return f"Batch {copy.batch} was abandoned, and may be at Anthropic: look for it in the Console."
    if copy.is_second:
        return (
            f"Anthropic has it a second time, in {copy.anthropic_id}, which another create call for batch {copy.batch} "
            f"made. To delete it there: manage.py claude_batches adopt {copy.anthropic_id}, and delete what that makes"
        )
    until = "" if copy.until is None else f" until {copy.until:%Y-%m-%d}"
    return (
        f"Anthropic has it{until}, in {copy.anthropic_id}. To delete that batch there, with all its requests: "
        f"manage.py claude_batches delete-remote {copy.batch}"
    )


def _document(report: Erasure) -> dict[str, Any]:
    copies = [asdict(copy) | {"until": copy.until.isoformat() if copy.until else None} for copy in report.copies]
    return asdict(report) | {"copies": copies}
