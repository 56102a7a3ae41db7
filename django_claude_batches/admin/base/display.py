"""How values are displayed. Values from a model, a user or the API are escaped text, never markup."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.admin.utils import display_for_value
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_claude_batches.error_text import one_line
from django_claude_batches.estimates import CENT, Estimate, dollars
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.models.batch.outcomes import OutcomeCount, in_words, outcome_counts
from django_claude_batches.models.batch_state import FETCHING

EMPTY = "-"

# Characters of one text on a page: longer texts make browsers slow.
MOST_CHARACTERS = 100_000

# Models without a price that a text names.
MOST_MODELS = 3


@dataclass(frozen=True, slots=True)
class Fact:
    """A label and its value on a page; `bar` shows how much of a period has passed."""

    label: Any
    text: Any
    bar: SafeString | str = ""


def state_label(batch: MessageBatch) -> SafeString:
    """Return the state's label, with its explanation as a tooltip."""
    # While results are fetched, the explanation counts them, which would be a query for each row of a list.
    hint = "" if batch.state in FETCHING else batch.explanation
    label = State(batch.state).label
    return format_html('<span class="dcb-state dcb-{}" title="{}">{}</span>', batch.state, hint, label)


def progress(batch: MessageBatch, url: Callable[[str], str] | None = None) -> str:
    """Return a bar of the outcomes with its text, or the number of requests of a batch without outcomes."""
    counts = outcome_counts(batch)
    if not counts:
        return ngettext("%(n)s request", "%(n)s requests", batch.request_count) % {"n": f"{batch.request_count:,}"}
    return bar(counts, sum(each.count for each in counts), url)


def bar(parts: Sequence[OutcomeCount], total: int, url: Callable[[str], str] | None = None) -> SafeString:
    """Return a bar, with each part's name as its class and its number as its width, and a legend below it.

    `url` returns the URL of the rows of a part by its name, or an empty text.
    """
    text = in_words(parts)
    drawn, start = [], 0
    for part in parts:
        width = min(part.count, total - start)
        if width > 0:
            drawn.append((part.name, start, width))
            start += width
    return format_html(
        '<svg class="dcb-bar" viewBox="0 0 {} 1" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
        '<span class="dcb-bar-text">{}</span>',
        total,
        text,
        format_html_join("", '<rect class="dcb-{}" x="{}" width="{}" height="1"/>', drawn),
        format_html_join(
            ", ", "{}", ((link(url(each.name) if url else "", f"{each.count:,} {each.label}"),) for each in parts)
        ),
    )


def estimate(estimate: Estimate) -> str:
    """Return a range of dollars, the day of its prices and its warnings, for a label that says "estimate"."""
    return ". ".join([_range(estimate), *estimate.warnings])


def _range(estimate: Estimate) -> str:
    day = date_format(estimate.as_of, "DATE_FORMAT")
    if estimate.cents is None:
        return _without_prices(estimate.unknown_models, day) if estimate.unknown_models else _("not known")
    low, high = estimate.cents
    amounts = {"low": dollars(low), "high": dollars(high), "day": day}
    if high <= CENT:
        return _("at most $0.01 by the prices of %(day)s") % amounts
    if low < CENT:
        return _("at most about %(high)s by the prices of %(day)s") % amounts
    if low == high:
        return _("about %(high)s by the prices of %(day)s") % amounts
    return _("about %(low)s to %(high)s by the prices of %(day)s") % amounts


def _without_prices(models: tuple[str, ...], day: str) -> str:
    names = [f'"{model}"' for model in models[:MOST_MODELS]] + ["…"] * (len(models) > MOST_MODELS)
    text = ngettext(
        "not known: no price for model %(names)s on %(day)s",
        "not known: no price for models %(names)s on %(day)s",
        len(models),
    )
    return text % {"names": ", ".join(names), "day": day}


def age(at: datetime | None) -> str:
    """Return how long ago that was, with the time as a tooltip."""
    if at is None:
        return EMPTY
    shown = display_for_value(timezone.localtime(at), EMPTY)
    # timesince() has a no-break space, but columns of lists are narrow.
    return format_html('<span title="{}">{}</span>', shown, timesince(at, depth=1).replace("\xa0", " "))


def moment(at: datetime) -> SafeString:
    """Return a time in the one format of the pages, with the machine-readable time as an attribute."""
    local = timezone.localtime(at)
    shown = date_format(local, "DATETIME_FORMAT")
    return format_html('<time datetime="{}">{}</time>', local.isoformat(), shown)


def until(at: datetime) -> str:
    """Return the time left until then, as text."""
    left = at - timezone.now()
    if left <= timedelta(0):
        return _("as soon as a worker is free")
    if left < timedelta(minutes=1):
        return _("within a minute")
    return _("in %(time)s") % {"time": timeuntil(at, depth=1)}


def duration(length: timedelta) -> str:
    """Return a length of time as text, in its two largest units."""
    now = timezone.now()
    return timesince(now - length, now, depth=2)


def link(url: str, text: Any) -> str:
    """Return a link, or the text alone without a URL."""
    return format_html('<a href="{}">{}</a>', url, text) if url else str(text)


def share(part: float) -> SafeString:
    """Return a bar that is filled to this share, from 0 to 1. It only repeats what the text beside it says."""
    full = round(100 * min(max(part, 0), 1))
    return format_html(
        '<svg class="dcb-clock" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        '<rect width="{}" height="1"/></svg>',
        full,
    )


def two_lines(first: str, second: str) -> str:
    """Return a text with a quiet one below it, if there is one."""
    return format_html('{}<span class="dcb-second">{}</span>', first, second) if second else first


def in_dollars(cost: Decimal | None, unpriced: int = 0) -> str:
    """Return a cost in dollars and cents; `unpriced` results, whose cost is not known, are not in it."""
    if cost is None or (unpriced and not cost):
        return _("not known")
    shown = dollars(cost).replace(" ", "\xa0")
    return _("at least %(amount)s") % {"amount": shown} if unpriced else shown


def usd(cost: Decimal | None, as_of: date | None = None, unpriced: int = 0) -> str:
    """Return the text of `in_dollars`, with the exact amount and the day of the prices as a tooltip."""
    shown = in_dollars(cost, unpriced)
    if cost is None or (unpriced and not cost):
        return shown
    exact = _("%(amount)s USD") % {"amount": f"{cost.normalize():,f}"}
    if as_of is not None:
        exact = _("%(amount)s by the prices of %(day)s") % {"amount": exact, "day": date_format(as_of, "DATE_FORMAT")}
    return format_html('<span title="{}">{}</span>', exact, shown)


def cut(text: str, characters: int = 80) -> str:
    """Return the beginning of a long text, with most of it as a tooltip."""
    if len(text) <= characters:
        return text or EMPTY
    return format_html('<span title="{}">{}</span>', text[:1000], Truncator(text).chars(characters))


def told(text: str) -> tuple[str, str]:
    """Return a text cut to one line, and the whole text if it is longer; both as reduced by `visible`."""
    line = one_line(text)
    return line, text if "\n" in text else ""


def shortened(text: str) -> tuple[str, str]:
    """Return at most 100,000 characters of the text, and a note if it was longer."""
    if len(text) <= MOST_CHARACTERS:
        return text, ""
    note = _("Cut here: the first %(shown)s of %(all)s characters.")
    return text[:MOST_CHARACTERS], note % {"shown": f"{MOST_CHARACTERS:,}", "all": f"{len(text):,}"}


def pretty(value: Any) -> str:
    """Return JSON as indented text."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def pretty_text(text: str) -> str:
    """Indent JSON text, unless it is so long that it will be cut anyway."""
    return text if len(text) > MOST_CHARACTERS else pretty(json.loads(text))
