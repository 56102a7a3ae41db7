"""A column chart of costs over time, as inline SVG: no script, each column a link with its figures as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_claude_batches.admin.base import display
from django_claude_batches.admin.usage.form import NONE
from django_claude_batches.admin.usage.page import Link, groups, period_label, period_link
from django_claude_batches.exceptions import LimitExceeded
from django_claude_batches.models.usage_totals import UsageReport, UsageRow, UsageSums, period_starts, total_of

WIDTH, HEIGHT = 960, 260
LEFT, TOP, BOTTOM = 64, 30, 24
PLOT_HEIGHT = HEIGHT - TOP - BOTTOM
MAX_COLUMN_WIDTH = 48

TITLES = {
    "day": gettext_lazy("Cost per day, in USD"),
    "week": gettext_lazy("Cost per week, in USD"),
    "month": gettext_lazy("Cost per month, in USD"),
}

GRID = '<line x1="{}" x2="{}" y1="{}" y2="{}"/><text x="{}" y="{}" text-anchor="end">{}</text>'

# Dates below the columns, and groups that have a color of their own.
MAX_DATES = 6
MAX_SERIES = 5


@dataclass(frozen=True, slots=True)
class Column:
    """The costs of one period, by series, from the bottom up."""

    label: str
    url: str
    costs: list[tuple[str, Decimal]]
    sums: UsageSums

    @property
    def hint(self) -> str:
        """Return the text that is shown above the chart while the column has the focus or the pointer."""
        text = f"{self.label}: {display.in_dollars(self.sums.cost_usd, self.sums.unpriced_results)}"
        if not (unpriced := self.sums.unpriced_results):
            return text
        unknown = ngettext("%(n)s result of unknown cost", "%(n)s results of unknown cost", unpriced)
        return f"{text}, {unknown % {'n': f'{unpriced:,}'}}"

    @property
    def whole_text(self) -> str:
        parts = [f"{name}: {display.in_dollars(cost)}" for name, cost in self.costs if cost]
        return ". ".join([self.hint, *(parts if len(self.costs) > 1 else [])])


def chart(report: UsageReport, names: Sequence[str], rows: Sequence[UsageRow], link: Link) -> dict[str, Any]:
    """Return the chart's `label`, `legend` (class and label of each series) and `svg`; empty if there are no rows."""
    if not rows:
        return {}
    series = _series(rows) if len(names) > 1 else {"": ""}
    shown = list(dict.fromkeys(series.values()))
    columns = list(_columns(report, names[0], rows, series, link))
    legend = [(f"dcb-series-{at}", label) for at, label in enumerate(shown)] if len(names) > 1 else []
    if any(column.sums.unpriced_results for column in columns):
        legend.append(("dcb-unknown", _("Not all costs are known")))
    label = str(TITLES[names[0]])
    return {"label": label, "legend": legend, "svg": _drawn(label, columns)}


def _series(rows: Sequence[UsageRow]) -> dict[str, str]:
    """Return the label of the series of each group. The largest groups have their own; the others share one."""
    found = [name for name, _sums in groups(rows)]
    own = {name: name or NONE for name in found[:MAX_SERIES]}
    return own | dict.fromkeys(found[MAX_SERIES:], _("Others"))


def _columns(
    report: UsageReport, period: str, rows: Sequence[UsageRow], series: dict[str, str], link: Link
) -> Iterator[Column]:
    """Yield a column for each period, including periods without usage."""
    found: dict[date, list[UsageRow]] = {}
    for row in rows:
        found.setdefault(row.keys[0], []).append(row)
    for start in _starts(report, period, rows):
        own = found.get(start, [])
        costs = dict.fromkeys(series.values(), Decimal(0))
        for row in own:
            costs[series[row.keys[1] if len(row.keys) > 1 else ""]] += row.sums.cost_usd
        yield Column(period_label(period, start), period_link(period, start, link), list(costs.items()), total_of(own))


def _starts(report: UsageReport, period: str, rows: Sequence[UsageRow]) -> list[date]:
    """Return the first day of each period of the report.

    If there are too many to draw, return only those from the first usage to the last.
    """
    first, last = rows[0].keys[0], rows[-1].keys[0]
    try:
        return period_starts(period, report.since or first, report.until or max(last, timezone.localdate()))
    except LimitExceeded:
        return period_starts(period, first, last)


def _drawn(label: str, columns: Sequence[Column]) -> SafeString:
    top = _round_up(max(column.sums.cost_usd for column in columns))
    slot = (WIDTH - LEFT) / len(columns)
    return format_html(
        '<svg class="dcb-chart" viewBox="0 0 {} {}" role="group" aria-label="{}">{}{}{}</svg>',
        WIDTH,
        HEIGHT,
        label,
        format_html_join("", GRID, ((LEFT, WIDTH, y, y, LEFT - 8, y + 4, text) for y, text in _lines(top))),
        format_html_join("", "{}", ((_column(column, at, slot, top),) for at, column in enumerate(columns))),
        format_html_join("", '<text x="{}" y="{}" text-anchor="{}">{}</text>', _dates(columns, slot)),
    )


def _lines(top: Decimal) -> Iterator[tuple[int, str]]:
    """Yield the vertical position and the text of each line of the grid."""
    for part in (0, 1, 2):
        yield TOP + PLOT_HEIGHT - PLOT_HEIGHT * part // 2, f"{(top * part / 2).normalize():,f}"


def _column(column: Column, at: int, slot: float, top: Decimal) -> SafeString:
    left, width = LEFT + at * slot, min(slot * 0.8, MAX_COLUMN_WIDTH)
    middle = left + slot / 2
    return format_html(
        '<a href="{}" aria-label="{}"><title>{}</title><rect class="dcb-slot" x="{}" y="{}" width="{}" height="{}"/>'
        '{}{}<text class="dcb-hint" x="{}" y="18" text-anchor="{}">{}</text></a>',
        column.url,
        column.whole_text,
        column.whole_text,
        f"{left:.2f}",
        TOP,
        f"{slot:.2f}",
        PLOT_HEIGHT,
        format_html_join(
            "",
            '<rect class="dcb-series-{}" x="{}" y="{}" width="{}" height="{}"/>',
            _parts(column, middle - width / 2, width, top),
        ),
        _unknown(column, middle, top),
        f"{middle:.2f}",
        _anchor(middle, margin=240),
        column.hint,
    )


def _parts(column: Column, left: float, width: float, top: Decimal) -> Iterator[tuple[int, str, str, str, str]]:
    below = Decimal(0)
    for series, (_name, cost) in enumerate(column.costs):
        below += cost
        if cost:
            height = float(cost / top) * PLOT_HEIGHT
            yield series, f"{left:.2f}", f"{_height(below, top):.2f}", f"{width:.2f}", f"{height:.2f}"


def _unknown(column: Column, middle: float, top: Decimal) -> SafeString:
    """Return a mark above a column if some of its costs are not known; otherwise an empty text."""
    if not column.sums.unpriced_results:
        return SafeString("")
    y = max(_height(column.sums.cost_usd, top) - 7, TOP + 4)
    return format_html('<circle class="dcb-unknown" cx="{}" cy="{}" r="4"/>', f"{middle:.2f}", f"{y:.2f}")


def _height(cost: Decimal, top: Decimal) -> float:
    return TOP + PLOT_HEIGHT - float(cost / top) * PLOT_HEIGHT


def _dates(columns: Sequence[Column], slot: float) -> Iterator[tuple[str, int, str, str]]:
    step = -(-len(columns) // MAX_DATES)
    for at in range(0, len(columns), step):
        middle = LEFT + (at + 0.5) * slot
        yield f"{middle:.2f}", HEIGHT - 6, _anchor(middle, margin=44), columns[at].label


def _anchor(x: float, *, margin: int) -> str:
    """Return the `text-anchor` of a text at `x` that is up to twice `margin` wide, so that it stays in the chart."""
    return "start" if x < LEFT + margin else "end" if x > WIDTH - margin else "middle"


def _round_up(cost: Decimal) -> Decimal:
    """Return the top of the scale: the cost rounded up to 1, 1.5, 2, 2.5, 3, … times a power of ten; 1 for no cost."""
    if cost <= 0:
        return Decimal(1)
    power = Decimal(1).scaleb(cost.adjusted())
    digits = map(Decimal, ("1", "1.5", "2", "2.5", "3", "4", "5", "6", "8", "10"))
    return next(power * digit for digit in digits if cost <= power * digit)
