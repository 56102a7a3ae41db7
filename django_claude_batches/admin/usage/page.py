"""The tables and the CSV of the usage page, made from a report."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_claude_batches.admin.base import display
from django_claude_batches.admin.usage.form import GROUP_LABELS, NONE, PERIOD_LABELS
from django_claude_batches.export.cells import escape_formula
from django_claude_batches.export.formats import BOM
from django_claude_batches.models.usage_totals import SUMS, UsageRow, UsageSums, last_day, total_of

# Rows of the table. The CSV has all.
MAX_GROUPS = 100

# Returns the URL of the page with these parameters changed.
Link = Callable[..., str]

COLUMNS = (
    gettext_lazy("Cost"),
    gettext_lazy("Requests"),
    gettext_lazy("Tokens in"),
    gettext_lazy("Tokens out"),
    gettext_lazy("Cache written"),
    gettext_lazy("Cache read"),
    gettext_lazy("Read share"),
    gettext_lazy("Cost unknown"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table. `url` leads to the usage page for this row alone, or is empty."""

    label: str
    url: str
    cells: list[str]


def cells(sums: UsageSums) -> list[str]:
    """Return the cells of a row, in the order of `COLUMNS`."""
    share = sums.cache_read_share
    counts = (
        *(sums.requests, sums.input_tokens, sums.output_tokens),
        *(sums.cache_write_tokens, sums.cache_read_tokens),
    )
    return [
        display.usd(sums.cost_usd, unpriced=sums.unpriced_results),
        *(f"{count:,}" for count in counts),
        display.EMPTY if share is None else f"{share:.0%}",
        f"{sums.unpriced_results:,}" if sums.unpriced_results else display.EMPTY,
    ]


def months(this: UsageSums, last: UsageSums) -> list[tuple[Any, str, str]]:
    """Return each column's label, and its text for this month and for the last."""
    return list(zip(COLUMNS, cells(this), cells(last), strict=True))


def table(names: Sequence[str], rows: Sequence[UsageRow], link: Link) -> dict[str, Any]:
    """Return the table: a line for each group if the rows are grouped, otherwise for each period."""
    lines = list(_of_groups(names[1], rows, link) if len(names) > 1 else _of_periods(names[0], rows, link))
    labels = {**PERIOD_LABELS, **GROUP_LABELS}
    return {"heading": labels[names[-1]], "columns": COLUMNS, "lines": lines, "total": cells(total_of(rows))}


def groups(rows: Iterable[UsageRow]) -> list[tuple[str, UsageSums]]:
    """Return the sums of each group over all periods, the largest cost first."""
    found: dict[str, UsageSums] = {}
    for row in rows:
        found[row.keys[1]] = found.get(row.keys[1], UsageSums()) + row.sums
    return sorted(found.items(), key=lambda item: (-item[1].cost_usd, -item[1].requests, item[0]))


def period_label(period: str, start: date) -> str:
    if period == "month":
        return date_format(start, "YEAR_MONTH_FORMAT")
    day = date_format(start, "DATE_FORMAT")
    return day if period == "day" else _("Week of %(day)s") % {"day": day}


def period_link(period: str, start: date, link: Link) -> str:
    """Return the URL of the usage page for this period alone, divided into days."""
    return link(since=start.isoformat(), until=last_day(period, start).isoformat(), per="day")


def csv_file(names: Sequence[str], rows: Iterable[UsageRow]) -> bytes:
    """Return all rows as CSV, with numbers as numbers; `cost_usd` is empty if it is not known."""
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    writer.writerow([*names, *SUMS])
    for row in rows:
        cost = row.sums.known_cost_usd
        sums = ["" if cost is None else f"{cost:f}", *(getattr(row.sums, name) for name in SUMS[1:])]
        writer.writerow([*(escape_formula(str(key)) for key in row.keys), *sums])
    return BOM + written.getvalue().encode()


def _of_periods(period: str, rows: Iterable[UsageRow], link: Link) -> Iterator[Line]:
    for row in rows:
        (start,) = row.keys
        url = "" if period == "day" else period_link(period, start, link)
        yield Line(period_label(period, start), url, cells(row.sums))


def _of_groups(name: str, rows: Iterable[UsageRow], link: Link) -> Iterator[Line]:
    found = groups(rows)
    for value, sums in found[:MAX_GROUPS]:
        yield Line(value or NONE, link(**{name: value or NONE, "by": ""}), cells(sums))
    if rest := found[MAX_GROUPS:]:
        label = _("%(n)s others: all are in the CSV") % {"n": f"{len(rest):,}"}
        yield Line(label, "", cells(sum((sums for _value, sums in rest), UsageSums())))
