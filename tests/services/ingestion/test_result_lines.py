"""For any line that JSON can make: a row that every database takes, or a problem; never an exception."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from django_claude_batches.client import Line
from django_claude_batches.models import BatchResult, ResultProblem
from django_claude_batches.sanitize import MAX_DEPTH, Cleaner
from django_claude_batches.services.ingestion.fast_path import OF_ANY, OF_PLAIN, has_plain_strings, parsed, skeleton
from django_claude_batches.services.ingestion.result_lines import parse

# Every code point, the halves of pairs and NUL with them; every float.
TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


def storable(value: Any, depth: int = 1) -> bool:
    if isinstance(value, str):
        return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return depth < MAX_DEPTH and all(storable(k) and storable(v, depth + 1) for k, v in value.items())
    if isinstance(value, list):
        return depth < MAX_DEPTH and all(storable(item, depth + 1) for item in value)
    return True


@given(VALUES)
def test_what_was_cleaned_can_be_stored_and_what_was_clean_is_unchanged(value: Any) -> None:
    cleaner = Cleaner()
    clean = cleaner.clean(value)
    assert storable(clean)
    assert cleaner.changed != storable(value)
    if storable(value):
        assert clean == value
    assert Cleaner().clean(clean) == clean


@given(st.integers(min_value=1, max_value=60))
def test_nesting_is_folded_where_it_gets_too_deep(levels: int) -> None:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    cleaner = Cleaner()
    assert storable(cleaner.clean(value))
    assert cleaner.changed == (levels >= MAX_DEPTH)


@given(VALUES, VALUES)
def test_any_message_and_any_error_become_a_row(message: Any, error: Any) -> None:
    line = {"custom_id": "x", "result": {"type": "succeeded", "message": message, "error": error}}
    row = parse(Line(1, 0, json.dumps(line).encode(), False))
    assert isinstance(row, BatchResult)
    texts = (row.error_type, row.error_message, row.error_request_id, row.model, row.stop_reason, row.text)
    assert storable([row.message, *texts])


@given(VALUES)
def test_any_usage_becomes_counts_or_nothing(usage: Any) -> None:
    line = {"custom_id": "x", "result": {"type": "succeeded", "message": {"usage": usage}}}
    row = parse(Line(1, 0, json.dumps(line).encode(), False))
    assert isinstance(row, BatchResult)
    for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "web_search_requests"):
        count = getattr(row, name)
        assert count is None or 0 <= count < 2**63


PIECES = [*':,{}[]"a1é ', '"text":"', '"thinking": "', '"text"', "x" * 40, "\\\\", '\\"', "\\u00e9", "\\n"]
PIECES += ["\\u0000", "\\ud83d", "\\u", "\\uD8", "\x01"]


def emptied(value: Any) -> Any:
    """The value with nothing for its prose."""
    if isinstance(value, list):
        return [emptied(item) for item in value]
    if isinstance(value, dict):
        return {k: "" if k in {"text", "thinking"} and isinstance(v, str) else emptied(v) for k, v in value.items()}
    return value


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | VALUES.map(json.dumps))
@example('{"text":"text":"x"}')
@example('{"a":"\\\\"text":"b"}')
@example('{"text":"\\\\","text":"x"}')
def test_nothing_passes_as_it_came_that_is_not_json(text: str) -> None:
    """Prose is matched, not parsed: what is no JSON must not become it by that, and the rest must be as it was."""
    for made in (text, '{"x":' + text + "}", '{"text":"' + text + '"}'):
        bones = skeleton(memoryview(made.encode("utf-8", "replace")))
        found = parsed(bones) if bones is not None else None
        if found is not None:
            whole = json.loads(made)
            assert found == emptied(whole)
            assert storable(whole)


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
@example("")
@example('\\"')
@example('\\"","text":"b\\"')
def test_plain_prose_ends_where_any_does(text: str) -> None:
    """On each Python, also unterminated: 3.11.2 has a fault in its possessive groups."""
    for made in (f'{{"text":"{text}'.encode(), f'{{"x":"{text}","text":"{text}"}}'.encode()):
        if has_plain_strings(made):
            assert [m.span() for m in OF_PLAIN[0].finditer(made)] == [m.span() for m in OF_ANY[0].finditer(made)]


@given(st.binary(max_size=200))
def test_any_bytes_become_a_row_or_a_problem(data: bytes) -> None:
    found = parse(Line(7, 100, data, False))
    assert isinstance(found, BatchResult) or (found.number, found.offset) == (7, 100)
    if isinstance(found, ResultProblem):
        assert storable([found.excerpt, found.reason])
