"""A dry run: everything is counted, the first requests are shown, every bad row is named."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from django_claude_batches.models import MessageBatch
from django_claude_batches.request_files import CheckReport, RequestFile
from django_claude_batches.request_files.check_report import MAX_BAD_ROWS, MAX_SAMPLE_CHARACTERS
from django_claude_batches.request_files.row import Row
from tests.harness.factories import item


def surveyed(rows: Iterable[Row]) -> CheckReport:
    survey = CheckReport()
    for row in rows:
        survey.add_row(row)
        if survey.is_full:
            break
    return survey


def lines(*items: Any) -> Iterator[Row]:
    data = "\n".join(json.dumps(one) for one in items).encode()
    return RequestFile(io.BytesIO(data), name="x").rows()


@pytest.mark.django_db
def test_it_counts_what_a_draft_will_count() -> None:
    items = [item(number, system="ä" * number) for number in range(5)]
    survey = surveyed(lines(*items))
    batch = MessageBatch.objects.create_draft(items)
    assert (survey.requests, survey.bytes) == (batch.request_count, batch.body_bytes)
    assert (survey.rows, survey.bad_count, survey.bad_rows) == (5, 0, [])
    stored = batch.requests.order_by("position")
    assert [(one["custom_id"], one["params"]) for one in survey.samples] == [
        (request.custom_id, request.params_text) for request in stored[:3]
    ]


def test_every_bad_row_has_its_number_and_reason() -> None:
    twice = {**item(0), "params": {**item(1)["params"], "stream": True}}
    survey = surveyed(lines(item(0), {"custom_id": "x"}, item(0), twice, [1], item(2)))
    assert survey.bad_rows == [
        (2, 'each item must be a mapping with "params"'),
        (3, "custom_id 'r-0' is used twice in this batch"),
        (4, "params.stream is not supported in a batch: remove it"),
        (5, 'not a JSON object like {"custom_id": "…", "params": {…}}'),
    ]
    assert (survey.rows, survey.requests, survey.bad_count) == (6, 2, 4)


def test_so_many_bad_rows_are_kept_and_all_are_counted() -> None:
    survey = surveyed(Row(number, problem="bad") for number in range(1, 5001))
    assert (survey.bad_count, len(survey.bad_rows)) == (5000, MAX_BAD_ROWS)


def test_what_a_reason_quotes_can_be_stored() -> None:
    survey = surveyed([Row(1, problem="a\0b \ud83d" + "x" * 10_000)])
    [(_number, reason)] = survey.bad_rows
    assert reason.startswith("a\ufffdb \ufffdxxx")
    assert len(reason) == 300


def test_a_long_request_is_shown_cut() -> None:
    survey = surveyed(lines(item(0, system="x" * 100_000)))
    [sample] = survey.samples
    assert (len(sample["params"]), sample["bytes"] > 100_000) == (MAX_SAMPLE_CHARACTERS, True)


@pytest.mark.slow
def test_the_row_that_is_one_too_many_is_named() -> None:
    params = item(0)["params"]
    survey = surveyed(Row(number, {"custom_id": str(number), "params": params}) for number in range(1, 100_003))
    assert (survey.is_full, survey.requests) == (True, 100_000)
    assert survey.bad_rows == [(100_001, "a batch holds at most 100,000 requests: put the rest into another batch")]


@pytest.mark.slow
def test_the_row_with_which_the_body_is_too_large_is_named() -> None:
    params = item(0, system="x" * 30_000_000)["params"]
    survey = surveyed(Row(number, {"custom_id": str(number), "params": params}) for number in range(1, 20))
    [(number, reason)] = survey.bad_rows
    assert (survey.is_full, survey.requests, number) == (True, 8, 9)
    assert "the body would have 270," in reason
    assert survey.bytes < 256_000_000
