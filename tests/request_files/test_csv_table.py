"""Each row of a table becomes a request, or is named with what is wrong with it."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_claude_batches.request_files import BadRow, Prompt, Question, RequestFile
from django_claude_batches.request_files.record_limits import MAX_RECORD_BYTES
from django_claude_batches.request_files.row import Row


def rows(content: bytes | str, prompt: str = "Tag: {review}", delimiter: str = "") -> list[Row]:
    data = content.encode() if isinstance(content, str) else content
    question = Question(Prompt(prompt), model="claude-haiku-4-5", delimiter=delimiter)
    return list(RequestFile(io.BytesIO(data), name="a.csv", question=question).rows())


def asked(content: bytes | str, prompt: str = "{review}") -> list[tuple[str, str]]:
    found = rows(content, prompt)
    assert not [row.problem for row in found if row.problem]
    return [(row.request["custom_id"], row.request["params"]["messages"][0]["content"]) for row in found]


def problems(content: bytes | str, prompt: str = "{review}") -> list[tuple[int, str]]:
    return [(row.number, row.problem) for row in rows(content, prompt) if row.problem]


TABLES = {
    "plain": "review,age\nwarm,3\nitchy,4\n",
    "semicolons": "review;age\nwarm;3\nitchy;4\n",
    "tabs": "review\tage\nwarm\t3\nitchy\t4\n",
    "carriage returns": "review,age\r\nwarm,3\r\nitchy,4\r\n",
    "no newline at the end": "review,age\nwarm,3\nitchy,4",
    "a byte order mark": "\ufeffreview,age\nwarm,3\nitchy,4\n",
    "spaces around names": " review , age\nwarm,3\nitchy,4\n",
    "quotes": '"review","age"\n"warm","3"\n"itchy","4"\n',
    "a comma in a name": '"age, years",review\n3,warm\n4,itchy\n',
    "commas in names": "Preis, netto;Preis, brutto;review\n3,10;3,50;warm\n4,10;4,50;itchy\n",
    "semicolons in a name": 'review, "options (a;b;c;d;e)"\nwarm,a\nitchy,b\n',
    "a name of two lines and semicolons": '"age\nin years";review\n3;warm\n4;itchy\n',
    "a name of two lines and tabs": 'review\t"age, in\nyears"\nwarm\t3\nitchy\t4\n',
    "sep=": "sep=;\nreview;age, years\nwarm;3\nitchy;4\n",
    "sep= after a byte order mark": '\ufeff"SEP=^"\r\nreview^age\r\nwarm^3\r\nitchy^4\r\n',
    "pipes": "review|age\nwarm|3\nitchy|4\n",
    "another case": "Age;Review\n3;warm\n4;itchy\n",
    "a no-break space": "\xa0review\u202f;age\nwarm;3\nitchy;4\n",
    "columns without a name": "review,,\nwarm,,\nitchy,x,y\n",
}


@pytest.mark.parametrize("table", TABLES)
def test_the_rows_are_asked(table: str) -> None:
    assert asked(TABLES[table]) == [("row-2", "warm"), ("row-3", "itchy")]


def test_one_column_and_no_delimiter() -> None:
    assert asked("review\nwarm\n") == [("row-2", "warm")]
    assert asked("review\nwarm, and soft; thin\n") == [("row-2", "warm, and soft; thin")]


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("body", "Body"),
        ("BODY", "body"),
        ("gr\xf6\xdfe", "Gro\u0308SSE"),
        ("price\xa0net", "price net"),
        ('"price\nnet"', "Price  net"),
    ],
)
def test_names_are_compared_without_case_accents_forms_and_kinds_of_white_space(column: str, name: str) -> None:
    assert asked(f"n;{column}\n1;warm\n", f"{{{name}}}") == [("row-2", "warm")]


def test_of_names_that_differ_in_case_the_same_is_taken() -> None:
    assert asked("Body,body\na,b\n", "{body} {Body}") == [("row-2", "b a")]
    assert problems("Body,body\na,b\n", "{BODY}") == [(0, "the header has the column 'BODY' twice")]


def test_custom_id_may_have_capitals() -> None:
    assert asked("Custom_ID;review\na-1;warm\n") == [("a-1", "warm")]


def test_the_delimiter_may_be_chosen() -> None:
    table = "sep=,\nreview;n,x\nwarm;1,y\n"
    assert [row.request["params"]["messages"][0]["content"] for row in rows(table, "{n,x}", "semicolon")] == ["1,y"]
    [row] = rows("review|n\nwarm|1\n", "{review}", "comma")
    assert row.problem.startswith("the prompt names a column 'review' (did you mean 'review|n'?)")


def test_a_header_may_have_many_lines() -> None:
    names = ";".join(f'"column {number}, which is\nlong"' for number in range(500))
    cells = ";".join(["a"] * 500)
    assert asked(f"{names};review\n{cells};warm\n") == [("row-2", "warm")]


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"])
def test_an_excel_workbook_is_named_as_one(start: bytes) -> None:
    data = start + bytes(range(256)) * 10 + b"\n" * 5
    [of_a_table] = rows(data)
    [of_requests] = RequestFile(io.BytesIO(data), name="a.xlsx").rows()
    assert of_a_table == of_requests
    assert of_a_table.number == 0
    assert 'an Excel workbook: save it as "CSV UTF-8"' in of_a_table.problem


def test_a_cell_may_hold_anything_and_rows_are_counted_as_a_spreadsheet_does() -> None:
    content = 'review,n\n"two\nlines, and ""quotes""",1\n\n , \n{review} \u2028 <b>,2\n'
    assert asked(content, "{review}!") == [
        ("row-2", 'two\nlines, and "quotes"!'),
        ("row-5", "{review} \u2028 <b>!"),
    ]


def test_a_column_may_name_the_requests() -> None:
    assert asked("custom_id,review\na-1, warm\nb_2,itchy\n") == [("a-1", " warm"), ("b_2", "itchy")]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("warm", "it has 1 cell, and the header has 2"),
        ("warm,1,2", "it has 3 cells, and the header has 2"),
        (",1", "the prompt is empty with the cells of this row"),
        ("a\0b,1", "it contains a NUL"),
        (b"gr\xfc\xdfe,1", "not UTF-8: byte 0xfc"),
        (b"\xed\xa0\xbd,1", "not UTF-8: byte 0xed"),
        ('"a" b,1', "not CSV that can be read"),
        ("x" * 131_073 + ",1", "field larger than field limit"),
        ("x" * (MAX_RECORD_BYTES + 1), f"it has more than {MAX_RECORD_BYTES:,} bytes"),
    ],
)
def test_a_bad_row_is_named_and_the_others_are_read(bad: bytes | str, why: str) -> None:
    data = bad.encode() if isinstance(bad, str) else bad
    found = rows(b"review,n\nwarm,0\n" + data + b"\nitchy,2\n", "{review}")
    assert [row.number for row in found] == [2, 3, 4]
    assert [bool(row.problem) for row in found] == [False, True, False]
    assert why in found[1].problem
    assert len(found[1].problem) < 200


def test_an_empty_name_of_a_request_is_not_made_up() -> None:
    assert problems("custom_id,review\n,warm\n") == [(2, "its cell in the column custom_id is empty")]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("text,n\nwarm,1\n", "the prompt names a column 'review', and the header has: text, n"),
        (",\n,\nreviews,n\n", "the header has: reviews, n"),
        ("review,review\na,b\n", "the header has the column 'review' twice"),
        ("custom_id,custom_id,review\na,b,c\n", "the header has the column 'custom_id' twice"),
        ("review,n\nwarm,1\n".encode("utf-16"), "UTF-16"),
        (b"\xff\xfe", "not UTF-8"),
        ("x" * (MAX_RECORD_BYTES + 1), "it has more than"),
        ("Reviews\nwarm\n", "a column 'review' (did you mean 'Reviews'?), and the header has: Reviews"),
        ("stars;n, x;y\n1;2;3\n", "a column 'review', and the header has: stars, n, x, y"),
        ("review,n\rwarm,1\r", "ends with CR only"),
    ],
)
def test_without_its_columns_there_is_one_problem(content: bytes | str, why: str) -> None:
    [(_number, problem)] = problems(content)
    assert why in problem


@pytest.mark.parametrize("content", ["", "\n\n", "review\n", "\ufeff"])
def test_a_table_without_rows(content: str) -> None:
    assert rows(content, "{review}") == []


def test_a_quote_that_is_never_closed_does_not_swallow_the_rest_unnoticed() -> None:
    found = rows('review,n\nwarm,0\n"never closed,1\nitchy,2\n')
    assert [row.number for row in found if row.request] == [2]
    assert "unexpected end of data" in found[-1].problem


def test_for_a_draft_the_first_bad_row_ends_it() -> None:
    question = Question(Prompt("{review}"), model="m")
    file = RequestFile(io.BytesIO(b"review,n\nwarm,0\nitchy\n"), name="a.csv", question=question)
    with pytest.raises(BadRow, match=r"^a\.csv, row 3: it has 1 cell, and the header has 2$"):
        list(file)


CELLS = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20
)


@pytest.mark.slow
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8), st.sampled_from(",;\t"))
def test_what_the_csv_module_writes_is_read_back(cells: list[tuple[str, str]], delimiter: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("review", "n"), *cells])
    kept = [pair for pair in cells if any(not cell.isspace() for cell in pair)]
    found = rows(out.getvalue(), "x{review}y{n}z")
    assert [row.request["params"]["messages"][0]["content"] for row in found] == [f"x{a}y{b}z" for a, b in kept]


@given(st.binary(max_size=300))
def test_no_bytes_break_the_readers(data: bytes) -> None:
    def numbers(question: Any) -> list[int]:
        return [row.number for row in RequestFile(io.BytesIO(data), name="x", question=question).rows()]

    for found in (numbers(None), numbers(Question(Prompt("{a}"), model="m"))):
        assert found == sorted(set(found))


def test_what_is_read_can_be_sent() -> None:
    [row] = rows('review\n"a\u2028b\x85c 😀"\n')
    assert json.loads(json.dumps(row.request)) == row.request
