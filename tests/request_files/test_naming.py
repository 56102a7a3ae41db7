"""Requests are named by a column of any text: each name is legal, and no two are the same."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_claude_batches.drafting.request import check_custom_id
from django_claude_batches.request_files import Prompt, Question, RequestFile
from django_claude_batches.request_files.naming import Names
from django_claude_batches.wire import MAX_REQUESTS


def names(*cells: str) -> list[str]:
    taken = Names()
    return [taken.take(cell, number) for number, cell in enumerate(cells, 2)]


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("T-1001", "T-1001"),
        (" T-1001 ", "T-1001"),
        ("a_b-C9", "a_b-C9"),
        ("x" * 40, "x" * 40),
        ("x" * 41, "x" * 40 + "-2"),
        ("ann@example.org", "ann-example-org-2"),
        ("Größe 5 / rot", "Gr-e-5-rot-2"),
        ("تذكرة", "row-2"),
        ("😀", "row-2"),
        ("", "row-2"),
        ("=1+1", "1-1-2"),
        ("---", "---"),
    ],
)
def test_a_cell_becomes_a_name(cell: str, name: str) -> None:
    assert names(cell) == [name]


def test_a_repeated_name_ends_in_its_row() -> None:
    assert names("a", "a", "A", "a") == ["a", "a-3", "A", "a-5"]


def test_a_name_that_a_cell_before_has_is_not_taken_again() -> None:
    assert names("a-3", "a!", "a!", "a-4") == ["a-3", "a-3-3", "a-4", "a-4-5"]


@given(st.lists(st.text("ab-3!2", max_size=45), max_size=60))
def test_names_are_legal_and_differ(cells: list[str]) -> None:
    found = names(*cells)
    assert len(set(found)) == len(found)
    for name in found:
        check_custom_id(name)


def test_the_largest_row_number_leaves_a_legal_name() -> None:
    taken = Names()
    long = [taken.take("x" * 50, 999_999_999) for _row in range(3)]
    assert len(set(long)) == 3
    for name in long:
        check_custom_id(name)


@pytest.mark.slow
def test_a_file_of_many_rows_takes_no_more_memory_than_a_batch_may_hold() -> None:
    taken = Names()
    for number in range(MAX_REQUESTS + 1000):
        taken.take(str(number), number)
    assert len(taken._taken) <= MAX_REQUESTS + 1


def rows(table: str, **options: object) -> list[tuple[int, object]]:
    question = Question(Prompt("{text}"), model="claude-haiku-4-5", **options)  # type: ignore[arg-type]
    file = RequestFile(io.BytesIO(table.encode()), name="a.csv", question=question)
    return [(row.number, row.problem or (row.request["custom_id"], row.request.get("cells"))) for row in file.rows()]


def test_the_column_is_found_as_those_of_the_prompt_are() -> None:
    table = "Ticket,custom_id,text\nT 1,a,warm\n"
    assert rows(table, name_by="ticket") == [(2, ("T-1-2", ["T 1", "a", "warm"]))]
    assert rows(table) == [(2, ("a", ["T 1", "a", "warm"]))]
    [(number, problem)] = rows(table, name_by="tickt")
    assert number == 0
    assert str(problem).startswith("the requests are to be named by a column 'tickt' (did you mean 'Ticket'?)")


def test_cells_are_left_out_on_request() -> None:
    question = Question(Prompt("{text}"), model="claude-haiku-4-5", keep_cells=False)
    file = RequestFile(io.BytesIO(b"text\nwarm\n"), name="a.csv", question=question)
    assert file.header == []
    [row] = file.rows()
    assert "cells" not in row.request


def test_a_header_that_is_too_long_to_keep_is_the_problem_of_the_file() -> None:
    table = f"text,{'x' * 70_000}\nwarm,1\n"
    [(number, problem)] = rows(table)
    assert (number, str(problem)[:31]) == (0, "the header cannot be kept: its ")
    assert rows(table, keep_cells=False) == [(2, ("row-2", None))]
