"""The fast path of result lines: most rows are read without parsing the line as JSON. Pure.

What it does: `match_start` matches the beginning of a line. `skeleton` empties the message's prose by regular
expressions and checks that any database can hold the message's text, which is stored as it came. `MessageTemplates`
reads the columns from the skeleton: by the template of an earlier message of the same shape, or by parsing the
skeleton.

When it gives up, so that `result_lines` parses the whole line: the line does not begin as the API writes it, or it has
an error; the message is not UTF-8, not one JSON object, repeats a key, is nested too deeply, or holds NUL, half a
surrogate pair or a number that a float may not hold; the text of a column would be cleaned or cut.

Which tests show that it equals the slow path: `test_the_fast_path_reads_what_the_slow_path_reads` (the same row, for
several messages one after the other) and `test_nothing_passes_as_it_came_that_is_not_json` (the skeleton alone).

Why it stays: bounds of tests/benchmarks fail without it. Without all of it a line takes 100 µs in place of 17, an
ingest on SQLite takes as long as bulk_create(1000) (bound: 1.4 times as fast), and a line of 32 MB takes 310 MB in
place of 127 (bound: 128). Without the templates alone a line takes 29 µs, and an ingest on PostgreSQL with lz4 takes
2.1 to 2.9 times as long as `psql \\copy` by CPU time, in place of 1.7 to 1.9 (bound: 1.5; on a busy machine, as that
one was, 1.95).
"""

from __future__ import annotations

import json
import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from django_claude_batches.models.bulk_rows import ResultRow
from django_claude_batches.models.usage import USAGE_COLUMNS
from django_claude_batches.sanitize import MAX_DEPTH, Cleaner
from django_claude_batches.services.ingestion.billed_usage import (
    counts_agree,
    counts_to_compare,
    fill,
    has_plain_usage,
    mapping,
)

# The custom_id and the type of a result that is as the API writes it, up to its message; group 3 where it has an error.
LineStart = re.Match[bytes]
_START = re.compile(
    rb'\{"custom_id": ?"([a-zA-Z0-9_-]{1,64})", ?"result": ?\{"type": ?"([a-z_]{1,40})"'
    rb'(?:, ?"message": ?(?=\{)|\}\}$|(, ?"error": ?\{))'
)


def match_start(data: bytes) -> LineStart | None:
    """Match the beginning of a line, which shows whether the rest has to be read."""
    return _START.match(data)


def read(data: bytes, start: LineStart, templates: MessageTemplates) -> ResultRow | None:
    """Return the line's row, with the text of its message unchanged; None if the fast path gives up.

    If the text parses as one object, the line ends with it and is complete.
    """
    if start[3] is not None:
        return None
    row = ResultRow(start[1].decode(), start[2].decode())
    if start.end() == len(data):
        return row
    row.message = memoryview(data)[start.end() : -2]
    found = skeleton(row.message) if data.endswith(b"}}") else None
    return row if found is not None and templates.fill(row, found) else None


# Characters of a decimal that a float gives back as it was.
MAX_EXACT_DIGITS = 15


class _Unusual(ValueError):
    """JSON that one of the databases would refuse or change."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Unusual
    return members


def _plain(number: str) -> float:
    """Raise for a number that a float cannot hold: 1e999, 1e-20000 (nor can PostgreSQL's numeric), too many digits."""
    if len(number) > MAX_EXACT_DIGITS or "e" in number or "E" in number:
        raise _Unusual
    return float(number)


def _refuse(constant: str) -> float:
    raise _Unusual(constant)


_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_plain, parse_constant=_refuse).raw_decode
_ODD = re.compile(rb"\\(?=u0000|u[dD][89a-fA-F])")
# A backslash that begins none of the escapes that are plain: it is one of two, or odd, or no JSON.
_HARD = re.compile(rb'\\(?!["/bfnrt]|u(?!0000|[dD][89a-fA-F])[0-9a-fA-F]{4})')

# To translate with: what has no control character stays the same object, in half the time that it takes to count.
_NO_CONTROL = bytes(max(byte, 0x20) for byte in range(256))
# The members whose value is prose, or as long and as different each time.
_PROSE = ("text", "thinking", "signature")

# All that JSON allows from quote to quote.
# No look-ahead for what is odd: before Python 3.11.5 a possessive group continues behind one that failed (gh-106052).
_ANY = rb'"[^"\\\x00-\x1f]*+(?:(?:\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'

# The same in a fifth of the time, where nothing is hard and there is no control character: a quote ends it, but for
# one behind a backslash. No possessive group: with a look-behind in it, those Pythons go on before where it failed.
_PLAIN = rb'"[^"]*+(?:(?<=\\)"[^"]*+)*(?<!\\)"'

# In valid JSON the quotes of a member's name can be no others': in a string, each has a backslash.
OF_ANY, OF_PLAIN = ([re.compile(b'"%b": ?%b' % (name.encode(), text)) for name in _PROSE] for text in (_ANY, _PLAIN))

# Bytes of a text that are looked at as a whole: of one of 32 MB there is no room for another copy.
MAX_SCANNED_BYTES = 64 * 1024


def has_plain_strings(line: bytes) -> bool:
    """Return whether quotes alone delimit the strings of this line; False for very long lines."""
    return len(line) <= MAX_SCANNED_BYTES and not _HARD.search(line) and line.translate(_NO_CONTROL) == line


def skeleton(data: memoryview) -> bytes | None:
    """Return the JSON text with empty prose; None if a database cannot store the text unchanged.

    Prose is most of an answer and not needed for the columns. Matching it takes a fraction of the time of parsing, and
    no memory; parsing a string of 32 MB takes 200 MB. `parsed` checks the rest.
    """
    line: bytes = data.obj  # type: ignore[assignment]
    plain = has_plain_strings(line)
    if not plain and _ODD.search(data):
        return None
    try:
        _check_utf8(data)
    except UnicodeDecodeError:
        return None
    of_text, *of_thinking = OF_PLAIN if plain else OF_ANY
    found = of_text.sub(b'"text":""', data)
    if b'"thinking"' in found:
        for name, member in zip(_PROSE[1:], of_thinking, strict=True):
            found = member.sub(b'"%b":""' % name.encode(), found)
    return found


def parsed(skeleton: bytes) -> dict[str, Any] | None:
    """Return the object in the text; None if it is not an object, or if a database would refuse or change it."""
    text = skeleton.decode()
    try:
        value, end = _decode(text)
        if end != len(text):
            return None
        # With fewer brackets than that it cannot be too deep.
        if text.count("{") + text.count("[") >= MAX_DEPTH and _depth(value) >= MAX_DEPTH:
            return None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _check_utf8(data: memoryview) -> None:
    """Raise UnicodeDecodeError if the bytes are not UTF-8. Decodes a part at a time."""
    if len(data) <= MAX_SCANNED_BYTES:
        str(data, "utf-8")
        return
    decoder = getincrementaldecoder("utf-8")()
    for start in range(0, len(data), MAX_SCANNED_BYTES):
        decoder.decode(data[start : start + MAX_SCANNED_BYTES], final=start + MAX_SCANNED_BYTES >= len(data))


def _depth(value: Any) -> int:
    """Return the number of levels of nesting."""
    if not isinstance(value, (dict, list)):
        return 0
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)


# Templates that are kept, and bytes of one's skeleton: those with tools differ from answer to answer.
MAX_TEMPLATES = 256
MAX_TEMPLATE_BYTES = 4096

# Stands for the first number of a template; the numbers themselves have fewer digits, and what never varies has none
# so long (`_CONFUSABLE`). So where it comes out, it came from there.
FIRST_PLACEHOLDER = 10**12
_CONFUSABLE = re.compile(rb"\d{13}")

# A member's value that is a short whole number, or the id. In valid JSON its quote can be no other's: within a string
# one has a backslash before it, which is no letter.
_VARIABLE = re.compile(
    rb'":(?:(?<=\w":) ?(0|[1-9]\d{0,11})|(?<="id":) ?"[\w-]{1,64}")(?=[,}])',
)


@dataclass(frozen=True, slots=True)
class MessageTemplate:
    """The common part of messages that differ only in their prose, numbers and ids.

    `pick` selects the texts for USAGE_COLUMNS and `counts_to_compare` from the texts of a message's numbers, which are
    followed by a None.
    """

    model: str
    stop_reason: str
    service_tier: str
    inference_geo: str
    pick: Callable[[Sequence[bytes | None]], tuple[bytes | None, ...]]

    def fill(self, row: ResultRow, numbers: list[bytes | None]) -> bool:
        """Set the row's columns; return whether its numbers agree. If they do not, the slow path reads the message."""
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
    """The templates of one download's messages: a few for 100,000 messages, so that few of them are parsed.

    A template is found by the skeleton without numbers and ids. Messages with the same key parse to the same object,
    except for these.
    """

    _known: dict[tuple[bytes, ...], MessageTemplate] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._known)

    def fill(self, row: ResultRow, skeleton: bytes) -> bool:
        """Set the row's columns from the skeleton of its message; return False if the slow path has to read it."""
        if len(skeleton) <= MAX_TEMPLATE_BYTES and self._fill_by_template(row, skeleton):
            return True
        message, cleaner = parsed(skeleton), Cleaner()
        if message is None:
            return False
        fill(row, message, cleaner)
        return not cleaner.changed

    def _fill_by_template(self, row: ResultRow, skeleton: bytes) -> bool:
        parts = _VARIABLE.split(skeleton)
        template = self._known.get(tuple(parts[::2])) or self._learn(parts)
        return template is not None and template.fill(row, parts[1::2])

    def _learn(self, parts: list[bytes]) -> MessageTemplate | None:
        if len(self._known) >= MAX_TEMPLATES:
            return None
        constants = parts[::2]
        template = _make_template(constants, parts[1::2])
        if template is not None:
            self._known[tuple(constants)] = template
        return template


def _make_template(constants: list[bytes], numbers: Sequence[bytes | None]) -> MessageTemplate | None:
    """Return the template of a message, read with each number replaced by its position; None if that is ambiguous."""
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
