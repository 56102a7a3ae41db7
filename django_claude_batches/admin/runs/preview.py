"""The preview of a run: what the job would send, as far as it can be read in a few seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import Error as DatabaseError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_claude_batches import conf, services
from django_claude_batches.admin.base import display
from django_claude_batches.conf import ConfigurationError
from django_claude_batches.error_text import format_error
from django_claude_batches.estimates import Estimate
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.services import cost_confirmation

# How long rows are read while a person waits for the page.
SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the preview showed: the number of rows, and whether that number has to be typed to confirm."""

    rows: int
    needs_confirmation: bool


@dataclass(frozen=True, slots=True)
class Look:
    """The content of the preview. `problem` is the error at which a run would stop; `seen` is None without rows."""

    standing: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    samples: list[tuple[str, str]] = field(default_factory=list)
    problem: str = ""
    seen: Seen | None = None

    @classmethod
    def of(cls, seen: Seen) -> Look:
        """Return the content for a form that is shown again with an error: the number of rows."""
        return cls(_rows(seen.rows), seen=seen)


def look(name: str, *, seconds: float = SECONDS) -> Look:
    """Return what a run would send; nothing is stored. Errors of the job's own code are returned, not raised."""
    try:
        found = services.dry_run(name, seconds=seconds)
    except (ClaudeBatchesError, ConfigurationError, DatabaseError) as error:
        return Look(_("A run would stop at this error. Fix it first."), problem=format_error(error))
    whole = _whole(found)
    seen = Seen(found.rows, cost_confirmation.needs_confirmation(found.rows, lambda: whole))
    samples = [display.shortened(display.pretty(params)) for params in found.samples]
    return Look(_standing(found, seconds), list(_facts(found, whole)), samples, seen=seen if found.rows else None)


def _whole(found: services.DryRun) -> Estimate:
    """Return the estimate for all rows, from those that were read."""
    if found.is_complete:
        return found.estimate
    if not found.requests:  # reading the first row took all of the time
        return Estimate(None, None, found.estimate.as_of)
    return found.estimate.times(Decimal(found.rows) / (found.requests + found.left_out))


def _rows(rows: int) -> str:
    return ngettext("%(n)s row would be asked.", "%(n)s rows would be asked.", rows) % {"n": f"{rows:,}"}


def _standing(found: services.DryRun, seconds: float) -> str:
    if not found.rows:
        return _("There is no row to ask about now, so there is nothing to start.")
    if found.is_complete:
        return _rows(found.rows) + " " + _("Nothing is stored so far, and nothing is sent.")
    text = _("In %(seconds)s seconds, the first %(n)s of %(all)s rows were read. The numbers below are for these rows.")
    return text % {"seconds": f"{seconds:g}", "n": f"{found.requests + found.left_out:,}", "all": f"{found.rows:,}"}


def _left_out(found: services.DryRun) -> str:
    first, why = found.left_out_rows[0]
    return _("%(n)s, the first is %(row)s: %(why)s") % {"n": f"{found.left_out:,}", "row": first, "why": why}


def _facts(found: services.DryRun, whole: Estimate) -> Any:
    yield _("Rows"), f"{found.rows:,}"
    if found.left_out:
        yield _("Left out, because they cannot be asked"), _left_out(found)
    if not found.rows:
        return
    if not found.is_complete:
        yield _("Rows read"), f"{found.requests + found.left_out:,}"
    yield _("Requests"), f"{found.requests:,}"
    yield _("Batches"), f"{found.batches:,}"
    yield _("Size, in bytes"), f"{found.bytes:,}"
    label = _("Estimated cost") if found.is_complete else _("Estimated cost of all rows, from those read")
    yield label, display.estimate(whole)
    if (most := conf.max_in_flight_requests()) is not None:
        yield _("At Anthropic at once"), _("at most %(n)s requests of the account") % {"n": f"{int(most):,}"}
