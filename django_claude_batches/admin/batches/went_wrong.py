"""The problems of a batch, grouped by kind, each with the number of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_claude_batches.admin.base.error_groups import error_groups
from django_claude_batches.admin.base.failed_deliveries import failed_delivery_groups
from django_claude_batches.admin.base.permissions import Viewer
from django_claude_batches.models import BatchResult, JobRun

# Lines that are shown at once; the others unfold.
MAX_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of problem and how many there are; `url` lists them, and is empty if the user may not view it."""

    count: str
    text: str
    url: str = ""


def went_wrong(viewer: Viewer, batch: Any, lines: str) -> dict[str, Any]:
    """Return the kinds of problems, by the counts made when results were stored; empty if there are none.

    `lines` is the number of lines of the results that could not be stored, as text. One query if the batch has failed
    deliveries.
    """
    problems = [*_errors(viewer, batch), *_raised(viewer, batch)]
    if lines:
        one, more = "line of the results could not be stored", "lines of the results could not be stored"
        text = ngettext(one, more, 1 if lines == "1" else 2)
        problems.append(Problem(lines, text, "#dcb-problems"))
    return {"shown": problems[:MAX_SHOWN], "more": problems[MAX_SHOWN:]} if problems else {}


def _errors(viewer: Viewer, batch: Any) -> Iterator[Problem]:
    for group in error_groups(batch):
        url = viewer.rows_url(BatchResult, batch.pk, error_type=group.error_type)
        yield Problem(f"{group.rows:,}", group.error_type or "-", url)


def _raised(viewer: Viewer, batch: Any) -> Iterator[Problem]:
    """Yield the errors that the job's handlers raised, as the run's page shows them."""
    if not batch.failed_delivery_count:
        return
    url = viewer.row_url(JobRun, batch.run_id)
    for group in failed_delivery_groups(viewer, {"batch": batch.pk}):
        text = _("raised in the job's code: %(error)s") % {"error": group.error}
        yield Problem(f"{group.count:,}", text, f"{url}#dcb-parked" if url else "")
