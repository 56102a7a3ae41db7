"""What of an answer becomes columns; and how many answers of one form are read by the first of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any

from django_claude_batches.models.bulk_rows import ResultRow
from django_claude_batches.models.usage import USAGE_COLUMNS
from django_claude_batches.sanitize import Cleaner
from django_claude_batches.services.ingestion.billed_usage import (
    counts_agree,
    counts_to_compare,
    fill_usage,
    has_plain_usage,
    mapping,
)
from django_claude_batches.services.ingestion.fast_path import parsed

MAX_TEMPLATES = 256
MAX_TEMPLATE_BYTES = 4096
"""Forms that are kept, and bytes of one's skeleton: those with tools differ from answer to answer."""

FIRST_PLACEHOLDER = 10**12
"""Stands for the first number of a form; the numbers themselves have fewer digits, and what never varies has none so
long (`_CONFUSABLE`). So where it comes out, it came from there."""

_CONFUSABLE = re.compile(rb"\d{13}")

_VARIABLE = re.compile(
    rb'":(?:(?<=\w":) ?(0|[1-9]\d{0,11})|(?<="id":) ?"[\w-]{1,64}")(?=[,}])',
)
"""A member's value that is a short whole number, or the id. In valid JSON its quote can be no other's: within a string
one has a backslash before it, which is no letter."""


def fill(row: ResultRow, message: Mapping[str, Any], cleaner: Cleaner) -> None:
    """Set the row's columns that come from the message, but for the message itself."""
    usage = mapping(message.get("usage"))
    row.model = short_text(message.get("model"), 100, cleaner)
    row.stop_reason = short_text(message.get("stop_reason"), 60, cleaner)
    fill_usage(row, usage, message.get("model"))
    row.service_tier = short_text(usage.get("service_tier"), 40, cleaner)
    row.inference_geo = short_text(usage.get("inference_geo"), 40, cleaner)


@dataclass(frozen=True, slots=True)
class MessageTemplate:
    """What messages have in common that differ only in their prose, their numbers and their ids."""

    model: str
    stop_reason: str
    service_tier: str
    inference_geo: str
    pick: Callable[[Sequence[bytes | None]], tuple[bytes | None, ...]]
    """Takes the texts of COUNTED and of `checked` from those of a message's numbers, behind which a None stands."""

    def fill(self, row: ResultRow, numbers: list[bytes | None]) -> bool:
        """Set the row's columns; return whether its numbers agree. If not, the message has to be read with care."""
        row.model, row.stop_reason = self.model, self.stop_reason
        row.service_tier, row.inference_geo = self.service_tier, self.inference_geo
        numbers.append(None)
        (
            row.input_tokens,
            row.output_tokens,
            row.cache_write_5m_tokens,
            row.cache_write_1h_tokens,
            row.cache_read_tokens,
            row.web_search_requests,
            written,
            thinking,
        ) = [None if text is None else int(text) for text in self.pick(numbers)]
        return counts_agree(
            written,
            thinking,
            output=row.output_tokens,
            of_5m=row.cache_write_5m_tokens,
            of_1h=row.cache_write_1h_tokens,
        )


@dataclass(slots=True)
class MessageTemplates:
    """The forms of one download's messages: a few for a hundred thousand, each of which would take long to parse.

    A message's form is its skeleton without numbers and ids. Two of the same form parse to the same, but for those.
    """

    _known: dict[tuple[bytes, ...], MessageTemplate] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._known)

    def fill(self, row: ResultRow, skeleton: bytes) -> bool:
        """Set the row's columns by the skeleton of its message, or say that it has to be read with care."""
        if len(skeleton) <= MAX_TEMPLATE_BYTES and self._fill_by_template(row, skeleton):
            return True
        message, cleaner = parsed(skeleton), Cleaner()
        if message is None:
            return False
        fill(row, message, cleaner)
        return not cleaner.changed

    def _fill_by_template(self, row: ResultRow, skeleton: bytes) -> bool:
        parts = _VARIABLE.split(skeleton)
        form = self._known.get(tuple(parts[::2])) or self._learn(parts)
        return form is not None and form.fill(row, parts[1::2])

    def _learn(self, parts: list[bytes]) -> MessageTemplate | None:
        if len(self._known) >= MAX_TEMPLATES:
            return None
        constants = parts[::2]
        form = _make_template(constants, parts[1::2])
        if form is not None:
            self._known[tuple(constants)] = form
        return form


def _make_template(constants: list[bytes], numbers: Sequence[bytes | None]) -> MessageTemplate | None:
    """Read a message in which each number is its place; None where that does not tell what becomes of the numbers."""
    if any(map(_CONFUSABLE.search, constants)):
        return None
    pieces = [constants[0]]
    for place, (number, constant) in enumerate(zip(numbers, constants[1:], strict=True), FIRST_PLACEHOLDER):
        pieces += (b'":""' if number is None else b'":%d' % place, constant)
    message, row, cleaner = parsed(b"".join(pieces)), ResultRow("", ""), Cleaner()
    if message is None:
        return None
    usage = mapping(message.get("usage"))
    if not has_plain_usage(usage):
        return None
    fill(row, message, cleaner)
    counts = [*(getattr(row, name) for name in USAGE_COLUMNS), *counts_to_compare(usage)]
    places = [len(numbers) if count is None else count - FIRST_PLACEHOLDER for count in counts]
    if cleaner.changed or min(places) < 0:
        return None
    return MessageTemplate(row.model, row.stop_reason, row.service_tier, row.inference_geo, itemgetter(*places))


def short_text(value: Any, longest: int, cleaner: Cleaner) -> str:
    """Give text for a column, cut at `longest` characters; nothing for what is no text."""
    if not isinstance(value, str):
        return ""
    if len(value) > longest:
        return cleaner.text(value, longest)
    text, changed = _cleaned(value)
    cleaner.changed |= changed
    return text


@lru_cache(maxsize=256)
def _cleaned(value: str) -> tuple[str, bool]:
    """Clean what comes again and again: the names of models, reasons, tiers."""
    cleaner = Cleaner()
    return cleaner.text(value), cleaner.changed
