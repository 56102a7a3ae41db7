"""The columns of an uploaded table come back beside the answers, and those of a schema with them."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from django_claude_batches import services
from django_claude_batches.db import keyset
from django_claude_batches.export import CsvExport
from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch
from django_claude_batches.testing import ClaudeEmulator
from django_claude_batches.testing.emulator.replies import scripted
from django_claude_batches.testing.emulator.validation.params import Failure
from tests.harness.factories import item

pytestmark = [pytest.mark.django_db, pytest.mark.database]

HEADER = ["id", "text", "", "=note"]
CELLS = [["1", 'warm, "soft"', "", "=1+1"], ["2", "two\r\nlines", "😀", "-"], ["3", "مرحبا", "x", " @ "]]
COLUMNS = ("custom_id", "cells", "text", "output", "result_type")
SCHEMA = {"type": "object", "properties": {"tag": {}, "text": {}, "score": {}, "more": {}}}
FORMAT = {"format": {"type": "json_schema", "schema": SCHEMA}}


def read(export: CsvExport) -> list[list[str]]:
    return list(csv.reader(io.StringIO(b"".join(export).decode("utf-8-sig"), newline="")))


def draft(header: list[str] = HEADER, rows: list[list[str]] = CELLS, **params: Any) -> MessageBatch:
    items = [{**item(number, **params), "cells": cells} for number, cells in enumerate(rows)]
    return MessageBatch.objects.create_draft(items, cells_header=header)


def answered(replies: dict[int, Any], *batches: MessageBatch) -> None:
    with ClaudeEmulator(seed=1, replies=scripted(replies)) as claude:
        for batch in batches:
            services.advance(services.submit(batch))
        claude.finish()
        for batch in batches:
            services.advance(batch)


def test_cells_come_back_byte_by_byte_under_their_names() -> None:
    batch = draft()
    answered({0: "a", 1: Failure("api_error", "no", while_running=True), 2: "c"}, batch)
    header, *rows = read(CsvExport(batch.results.all(), COLUMNS, escape_formulas=False))
    assert header == ["custom_id", *HEADER, "claude_text", "result_type"]
    assert rows == [
        ["r-0", *CELLS[0], "a", "succeeded"],
        ["r-1", *CELLS[1], "", "errored"],
        ["r-2", *CELLS[2], "c", "succeeded"],
    ]


def test_formulas_get_an_apostrophe_in_names_and_cells_too() -> None:
    batch = draft()
    answered({}, batch)
    header, first, second, third = read(CsvExport(batch.results.all(), ["cells"]))
    assert header == ["id", "text", "", "'=note"]
    assert [first[3], second[3], third[3]] == ["'=1+1", "'-", "' @ "]


def test_members_of_a_schema_are_columns() -> None:
    answer = {"tag": "=warm", "text": None, "score": 1.5, "more": {"a": ["é", True]}}
    batch = draft(output_config=FORMAT)
    fenced = '```json\n{"tag": 7, "score": true}\n```'
    answered({0: json.dumps(answer), 1: '{"tag": "cu', 2: fenced}, batch)
    header, *rows = read(CsvExport(batch.results.all(), COLUMNS))
    assert header[5:] == ["claude_text", "tag", "answer_text", "score", "more", "result_type"]
    assert [row[6:10] for row in rows] == [
        ["'=warm", "", "1.5", '{"a": ["é", true]}'],
        ["", "", "", ""],
        ["7", "", "true", ""],
    ]


def test_requests_without_a_result_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyset, "PAGE_ROWS", 1)
    batch = draft()
    answered({0: "a"}, batch)
    BatchResult.objects.exclude(custom_id="r-1").delete()
    export = CsvExport(batch.results.all(), COLUMNS, missing=batch.requests.missing(), escape_formulas=False)
    _header, *rows = read(export)
    assert [(row[0], row[1:5], row[6]) for row in rows] == [
        ("r-1", CELLS[1], "succeeded"),
        ("r-0", CELLS[0], "missing"),
        ("r-2", CELLS[2], "missing"),
    ]
    assert export.rows == 3


def test_a_batch_without_any_result_has_its_cells() -> None:
    batch = draft()
    missing = batch.requests.missing()
    _header, *rows = read(CsvExport(batch.results.all(), ["cells"], missing=missing, escape_formulas=False))
    assert rows == CELLS


def test_files_that_differ_stand_side_by_side() -> None:
    first, same, other, without = (
        draft(),
        draft(),
        draft(["a", "b"], [["x", "y"]]),
        MessageBatch.objects.create_draft([item(0)]),
    )
    answered({}, first, same, other, without)
    header, *rows = read(CsvExport(BatchResult.objects.all(), ["batch", "cells"], escape_formulas=False))
    assert header == ["batch", *HEADER, "a", "b"]
    none = [""] * 4
    assert rows == [
        *([str(first.pk), *cells, "", ""] for cells in CELLS),
        *([str(same.pk), *cells, "", ""] for cells in CELLS),
        [str(other.pk), *none, "x", "y"],
        [str(without.pk), *none, "", ""],
    ]


def test_a_row_of_another_length_keeps_the_table_straight() -> None:
    batch = draft(["a", "b"], [["1"], ["1", "2", "3"], []])
    answered({}, batch)
    assert read(CsvExport(batch.results.all(), ["cells", "custom_id"])) == [
        ["a", "b", "custom_id"],
        ["1", "", "r-0"],
        ["1", "2", "r-1"],
        ["", "", "r-2"],
    ]


def test_purged_cells_are_empty() -> None:
    batch = draft()
    answered({}, batch)
    BatchRequest.objects.update(params_text="", cells_text=None)
    assert read(CsvExport(batch.results.all(), ["custom_id", "cells"]))[1] == ["r-0", "", "", "", ""]
