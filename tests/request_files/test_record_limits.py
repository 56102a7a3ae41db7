"""What is too large is refused by its row, before it takes memory or time without end; the others are read."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from django_claude_batches.request_files import BadPrompt, Prompt, Question, RequestFile
from django_claude_batches.request_files.record_limits import (
    MAX_DECODED_BYTES,
    MAX_LINE_BYTES,
    MAX_PLACES,
    MAX_PROMPT_CHARACTERS,
    MAX_RECORD_BYTES,
    MAX_VALUES,
    problem_with_line,
)
from django_claude_batches.request_files.row import Row
from tests.harness.selections import slow_but

GOOD = b'{"params": {}}\n'


def lines(data: bytes) -> list[tuple[int, str]]:
    return [(row.number, row.problem) for row in RequestFile(io.BytesIO(data), name="x").rows()]


def table(data: bytes, prompt: str = "{review}") -> list[Row]:
    return list(RequestFile(io.BytesIO(data), name="x", question=Question(Prompt(prompt), model="m")).rows())


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """AssertionError where more bytes than these are allocated at one moment."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", slow_but(2, [b"{}", b"[]", b"[[]]", b'{"a":{}}', b'{"a":1}']))
def test_a_line_of_many_values_is_refused_in_little_memory(value: bytes) -> None:
    data = b'{"params": [' + b",".join([value] * 150_000) + b"]}\n"
    with at_most(4 * len(data)):
        found = lines(GOOD + data + GOOD)
    assert found == [
        (1, ""),
        (2, "it has more than 100,000 values, the maximum for a request in a file"),
        (3, ""),
    ]


def test_commas_and_brackets_of_a_text_are_no_values() -> None:
    text = json.dumps({"params": {"system": '[{"\\",' * MAX_VALUES}}).encode()
    assert lines(text) == [(1, "")]


@pytest.mark.parametrize(
    ("wide", "width"),
    slow_but(2, [("\U0001f600", 4), ("\\ud83d\\ude00", 4), ("ä", 1), ("\\u00e4", 1), ("\u4e2d", 2), ("\\u4e2d", 2)]),
)
def test_a_line_may_take_so_much_memory(wide: str, width: int) -> None:
    most = min(MAX_LINE_BYTES, MAX_DECODED_BYTES // width)
    beginning = f'"{wide}'.encode()
    fits = beginning + b"x" * (most - len(beginning) - 1) + b'"'
    assert problem_with_line(fits) == ""
    assert f"{most:,}" in problem_with_line(fits + b" ")


@pytest.mark.parametrize("filling", slow_but(2, [b"x", b" "]))
@pytest.mark.parametrize("more", slow_but(2, [1, MAX_LINE_BYTES]))
def test_the_line_behind_one_that_is_too_long_is_read(filling: bytes, more: int) -> None:
    (first, second) = lines(filling * (MAX_LINE_BYTES + 2 + more) + b"\n" + GOOD)
    assert first == (1, "it has more than 32,000,000 bytes, the maximum for a request in a file")
    assert second == (2, "")


@pytest.mark.slow
def test_a_line_as_long_as_may_be_is_read() -> None:
    line = GOOD.strip() + b" " * (MAX_LINE_BYTES - len(GOOD))
    assert lines(line + b"x\r\n" + GOOD) == [(1, "not JSON: Extra data at character 32000000"), (2, "")]


@pytest.mark.slow
def test_a_row_of_many_lines_is_refused_and_the_rows_behind_it_are_read() -> None:
    row = b'"\n",' * (MAX_RECORD_BYTES // 4) + b"end\n"
    found = table(b"review,n\nwarm,0\n" + row + b"itchy,2\n")
    assert [bool(row.problem) for row in found] == [False, True, False]
    assert found[1].problem == "it has more than 4,000,000 bytes, the maximum for a row: a quote may not be closed"
    assert found[2].request["params"]["messages"][0]["content"] == "itchy"


def test_many_rows_may_have_more_than_one_may() -> None:
    row = b'"' + b"x" * 100_000 + b'\n",1\n'
    assert [row.problem for row in table(b"review,n\n" + row * 50)] == [""] * 50


def test_a_prompt_that_names_a_column_many_times_has_a_bound() -> None:
    prompt = Prompt("{review}" * MAX_PLACES)
    size = MAX_PROMPT_CHARACTERS // MAX_PLACES
    assert len(prompt.fill({"review": "x" * size})) == MAX_PROMPT_CHARACTERS
    with (
        at_most(1_000_000),
        pytest.raises(ValueError, match="more than 16,000,000 characters with the cells of this row"),
    ):
        prompt.fill({"review": "x" * (size + 1)})
    with pytest.raises(BadPrompt, match="in more than 1,000 places"):
        Prompt("{review}" * (MAX_PLACES + 1))
