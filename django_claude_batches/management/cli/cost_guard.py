"""Refuse large submissions without `--yes`."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterable

from django.core.management.base import CommandError

from django_claude_batches.estimates import Estimate
from django_claude_batches.management.cli.batch_output import counted, estimated
from django_claude_batches.models import MessageBatch
from django_claude_batches.models.batch_state import EDITABLE
from django_claude_batches.services import cost_confirmation


def add_yes(parser: ArgumentParser) -> None:
    text = "send also what is above CONFIRM_ABOVE_REQUESTS or CONFIRM_ABOVE_USD"
    parser.add_argument("--yes", action="store_true", help=text)


def refuse_large(batches: Iterable[MessageBatch], *, yes: bool) -> None:
    """Raise CommandError for more than the settings allow without confirmation, unless `--yes` was given."""
    drafts = [batch for batch in batches if batch.state in EDITABLE]
    again = f"submit {' '.join(str(batch.pk) for batch in drafts)}"
    if not yes:
        requests = sum(batch.request_count for batch in drafts)
        refuse_much(requests, lambda: cost_confirmation.estimate(drafts), undone="Not submitted", again=again)


def refuse_much(requests: int, estimate: Callable[[], Estimate], *, undone: str, again: str) -> None:
    """Raise CommandError if the number of requests, or their estimate, needs confirmation."""
    if not cost_confirmation.needs_confirmation(requests, estimate):
        return
    raise CommandError(
        f"{undone}: {counted(requests, 'request')}, estimate {estimated(estimate())}. That is above "
        f"CONFIRM_ABOVE_REQUESTS or CONFIRM_ABOVE_USD. To do it anyway: claude_batches {again} --yes"
    )
