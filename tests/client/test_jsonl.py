from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest

from django_claude_batches.client.jsonl import EXCERPT_BYTES, Line, split_lines
from django_claude_batches.exceptions import ResultsTooLarge


def lines(*pieces: bytes, limit: int = 1000) -> list[Line]:
    return list(split_lines(pieces, max_line_bytes=limit))


def test_numbers_and_offsets_count_blank_lines_and_trimmed_returns() -> None:
    assert lines(b"a\r\n\n  \r\nbc\n") == [Line(1, 0, b"a", False), Line(4, 8, b"bc", False)]


def test_last_line_needs_no_newline() -> None:
    assert lines(b"a\nb") == [Line(1, 0, b"a", False), Line(2, 2, b"b", False)]


def test_nothing_gives_nothing() -> None:
    assert lines() == lines(b"", b"\n\r\n") == []


@pytest.mark.parametrize("size", range(1, 12))
def test_pieces_may_be_cut_anywhere(size: int) -> None:
    data = '{"a":"é\u2028\x85"}\r\n\n{"b":1}\n{"c":2}'.encode()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert lines(*pieces) == lines(data)
    assert [line.data for line in lines(*pieces)] == ['{"a":"é\u2028\x85"}'.encode(), b'{"b":1}', b'{"c":2}']


def test_line_separators_of_unicode_and_lone_returns_do_not_split() -> None:
    data = b"a\xe2\x80\xa8b\xe2\x80\xa9c\xc2\x85d\re\x0bf\x0cg"
    assert [line.data for line in lines(data + b"\n")] == [data]


def test_only_one_return_is_trimmed() -> None:
    assert lines(b"a\r\r\n")[0].data == b"a\r"


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_oversized_line_is_skipped_to_its_end_and_shown_by_its_beginning(size: int) -> None:
    data = b"ok\n" + bytes(range(97, 107)) * 1000 + b"\nnext\n"
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    first, long, following = lines(*pieces, limit=50)
    assert (first, following) == (Line(1, 0, b"ok", False), Line(3, 10_004, b"next", False))
    assert (long.number, long.offset, long.oversized) == (2, 3, True)
    assert long.data == data[3 : 3 + min(EXCERPT_BYTES, max(len(long.data), 50))]


def test_line_of_exactly_the_limit_is_not_oversized() -> None:
    assert [line.oversized for line in lines(b"x" * 50 + b"\n" + b"x" * 51, limit=50)] == [False, True]


def test_where_the_pieces_break_off_the_incomplete_line_is_not_given() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"a\nb\nhalf"
        raise ConnectionError

    given = split_lines(pieces())
    assert [next(given).data, next(given).data] == [b"a", b"b"]
    with pytest.raises(ConnectionError):
        next(given)


def test_eight_megabytes_in_small_pieces_are_joined_once() -> None:
    piece = b"x" * 1024
    start = time.process_time()
    (line,) = split_lines(iter([piece] * 8192), max_line_bytes=16_000_000)
    assert len(line.data) == 8 * 1024 * 1024
    assert time.process_time() - start < 2  # adding them up takes some 20 s


def test_more_lines_than_there_may_be() -> None:
    for pieces in ([b"a\n\n\nb"], [b"a\n\n\n", b"b\n"], [b"a", b"\n\n\nb\n"]):
        lines = split_lines(pieces, max_lines=3)
        assert next(lines).data == b"a"
        with pytest.raises(ResultsTooLarge, match="more than 3 lines came, and the rest was not read"):
            next(lines)
    assert [line.data for line in split_lines([b"a\n\nb\n"], max_lines=3)] == [b"a", b"b"]


def test_blank_lines_without_an_end() -> None:
    with pytest.raises(ResultsTooLarge, match="more than 201,000 lines"):
        next(split_lines(itertools.repeat(b"\n" * 1000)))


def test_a_line_without_an_end() -> None:
    lines = split_lines(itertools.chain([b"a\n"], itertools.repeat(b"x" * 1_000_000)), max_line_bytes=1000)
    assert next(lines).data == b"a"
    with pytest.raises(ResultsTooLarge, match="line 2 has no end"):
        next(lines)
