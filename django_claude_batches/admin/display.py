"""How values look. Whatever came from a model, a user or the API is text here, never markup."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.contrib.admin.utils import display_for_value
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_claude_batches.models import MessageBatch, State
from django_claude_batches.models.state import FETCHING, REMOTE

EMPTY = "-"

MOST_CHARACTERS = 100_000
"""Characters of one text on a page: more makes browsers slow, and nobody reads it there."""

OUTCOMES = {
    "succeeded": gettext_lazy("succeeded"),
    "errored": gettext_lazy("errored"),
    "canceled": gettext_lazy("canceled"),
    "expired": gettext_lazy("expired"),
    "processing": gettext_lazy("processing"),
}


def state_label(batch: MessageBatch) -> SafeString:
    """Give the state in people's words, what it means as a tooltip."""
    # What a batch that is being fetched says of itself counts its rows: a query for each row of a list.
    hint = "" if batch.state in FETCHING else batch.explanation
    label = State(batch.state).label
    return format_html('<span class="dcb-state dcb-{}" title="{}">{}</span>', batch.state, hint, label)


def progress(batch: MessageBatch) -> str:
    """Give a bar of the outcomes with its text, or how many requests wait in a batch that is not at Anthropic."""
    counts = {name: getattr(batch, f"{name}_count") for name in OUTCOMES}
    total = sum(counts.values())
    if batch.state not in REMOTE or not total:
        return ngettext("%(n)s request", "%(n)s requests", batch.request_count) % {"n": f"{batch.request_count:,}"}
    text = ", ".join(f"{counts[name]:,} {label}" for name, label in OUTCOMES.items() if counts[name])
    parts, start = [], 0
    for name, count in counts.items():
        if count:
            parts.append((name, start, count))
            start += count
    return format_html(
        '<svg class="dcb-bar" viewBox="0 0 {} 1" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
        '<span class="dcb-bar-text">{}</span>',
        total,
        text,
        format_html_join("", '<rect class="dcb-{}" x="{}" width="{}" height="1"/>', parts),
        text,
    )


def age(moment: datetime | None) -> str:
    """Give how long ago that was, the moment itself as a tooltip."""
    if moment is None:
        return EMPTY
    shown = display_for_value(timezone.localtime(moment), EMPTY)
    return format_html('<span title="{}">{}</span>', shown, timesince(moment, depth=1))


def cut(text: str, characters: int = 80) -> str:
    """Give the beginning of a long text, the most of it as a tooltip."""
    if len(text) <= characters:
        return text or EMPTY
    return format_html('<span title="{}">{}</span>', text[:1000], Truncator(text).chars(characters))


def shortened(text: str) -> tuple[str, str]:
    """Give at most 100,000 characters of the text, and the note that says so where it was longer."""
    if len(text) <= MOST_CHARACTERS:
        return text, ""
    note = _("Cut here: the first %(shown)s of %(all)s characters.")
    return text[:MOST_CHARACTERS], note % {"shown": f"{MOST_CHARACTERS:,}", "all": f"{len(text):,}"}


def pretty(value: Any) -> str:
    """Give JSON for reading, as text."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def pretty_text(text: str) -> str:
    """Lay out JSON text for reading, unless it is so long that it will be cut anyway."""
    return text if len(text) > MOST_CHARACTERS else pretty(json.loads(text))
