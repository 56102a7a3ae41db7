"""What goes out as JSONL is what came in: by value, for every value that breaks things."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.db import keyset
from django_claude_batches.export import JsonlExport
from django_claude_batches.export.selection import RESULT_FILTERS, ResultSelection
from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch
from django_claude_batches.testing import ClaudeEmulator
from django_claude_batches.testing.emulator.replies import Reply, scripted
from django_claude_batches.testing.emulator.validation.params import Failure
from tests.harness.factories import item, running
from tests.harness.hostile_values import VALUES
from tests.harness.library.models import Book
from tests.harness.selections import slow_but
from tests.services.ingestion.test_hostile_results import (
    NEIGHBORS,
    PLACES,
    Document,
    ingested,
    long_line,
    spoiled,
    strict,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ESCAPED = (b"\xed\xa0", *(mark.encode() for mark in "\x85\u2028\u2029"))
"""Halves of characters and ends of lines: the line means the same, and is not the same bytes."""

ANSWERS = {
    0: 'Fine: "é😀", \\ and\nmore',
    1: Failure(),
    2: Failure("invalid_request_error", "messages: Field required", while_running=True),
    3: Reply(content=[{"type": "thinking", "thinking": "…", "signature": "s"}, {"type": "text", "text": "cut"}]),
    4: Reply(stop_reason="refusal", stop_details={"type": "refusal", "category": None, "explanation": None}),
}


def exported(results: Any) -> list[Any]:
    return [json.loads(line) for line in b"".join(JsonlExport(results)).split(b"\n") if line]


def ids(results: Any) -> list[str]:
    return [line["custom_id"] for line in exported(results)]


def fetched(claude: ClaudeEmulator, count: int = 5) -> MessageBatch:
    batch = running(count)
    claude.finish()
    return services.advance(batch)


@pytest.mark.parametrize("name", slow_but(10, VALUES))
def test_a_line_goes_out_as_it_came(claude: ClaudeEmulator, settings: Any, name: str) -> None:
    value = VALUES[name]
    places = [*(place for place in PLACES if value.is_text or place != "a key"), *NEIGHBORS]
    batch, sent = ingested(claude, settings, lambda place, line: spoiled(place, value, line), places)
    rows = {row.custom_id: row for row in batch.results.all()}
    *lines, end = b"".join(JsonlExport(batch.results.all())).split(b"\n")
    assert (len(lines), end) == (len(rows), b"")
    tag = batch.attempts.get().tag.encode()
    for line in lines:
        custom_id = line.partition(b'"custom_id":"')[2].partition(b'"')[0].decode()
        expected = sent[places[int(custom_id.removeprefix("r-"))]].replace(tag + b"_", b"")
        assert len(line.decode().splitlines()) == 1, custom_id
        if rows[custom_id].raw is None or any(mark in expected for mark in ESCAPED):
            assert strict(line) == strict(expected), custom_id
        else:
            assert line == expected, custom_id


@pytest.mark.parametrize(
    ("beginning", "kept"),
    slow_but(
        2,
        [
            (b'{"custom_id":"ID",', 0),
            (b'{ "custom_id"  :\t"ID" ,', 0),
            (b'{"custom\\u005fid":"ID",', 0),
            (b'{"custom_id":"ID","custom_id":"ID",', 0),
            (b'{"a":{"custom_id":"ID"},"b":["custom_id","ID"],"c":1,"custom_id":"ID",', 2),
            (b'{"a":"custom_id","custom_id":"ID","b":"\\"custom_id\\":\\"ID\\"","c":"ID",', 2),
        ],
    ),
)
def test_only_the_custom_id_of_an_original_line_becomes_ours(
    claude: ClaudeEmulator, settings: Any, beginning: bytes, kept: int
) -> None:
    def spoil(_name: str, line: Document) -> bytes:
        rest = json.dumps({"odd": [[float("inf")]], "result": line["result"]}).encode()
        return beginning.replace(b"ID", line["custom_id"].encode()) + rest[1:]

    batch, sent = ingested(claude, settings, spoil, ["one"])
    line = b"".join(JsonlExport(batch.results.all()))
    assert json.loads(line) == json.loads(sent["one"]) | {"custom_id": "r-0"}
    assert line.count(batch.attempts.get().tag.encode()) == kept


@pytest.mark.slow
def test_a_long_line_goes_out_whole(claude: ClaudeEmulator, settings: Any) -> None:
    names = ["plain", "with its original"]

    def spoil(name: str, line: Document) -> bytes:
        return long_line(line, 7_500_000, **({} if name == "plain" else {"odd": "\0"}))

    batch, sent = ingested(claude, settings, spoil, names)
    tag = f"{batch.attempts.get().tag}_".encode()
    lines = b"".join(JsonlExport(batch.results.all())).splitlines()
    assert [strict(line) for line in lines] == [strict(sent[name].replace(tag, b"")) for name in names]


@pytest.mark.parametrize("end", ["finish", "expire"])
def test_each_outcome_goes_out_as_it_came(end: str) -> None:
    with ClaudeEmulator(seed=1, replies=scripted(ANSWERS), processed_share=0.5 if end == "expire" else None) as claude:
        batch = running(12)
        getattr(claude, end)(batch.anthropic_id)
        services.advance(batch)
        tag = batch.attempts.get().tag
        sent = {line.custom_id.removeprefix(f"{tag}_"): json.loads(line.raw)["result"] for line in claude.served_lines}
    kinds = {"succeeded", "expired"} if end == "expire" else {"succeeded", "errored"}
    assert {result["type"] for result in sent.values()} >= kinds
    found = exported(batch.results.all())
    assert {line["custom_id"]: line["result"] for line in found} == sent
    assert [line["custom_id"] for line in found] == [f"r-{number}" for number in range(12)]


def test_a_canceled_one_goes_out_too(claude: ClaudeEmulator) -> None:
    batch = services.advance(services.cancel(running(2)))
    claude.finish()
    services.advance(batch)
    lines = exported(batch.results.all())
    assert lines == [{"custom_id": f"r-{number}", "result": {"type": "canceled"}} for number in range(2)]


def test_results_come_in_the_order_of_their_requests_a_piece_at_a_time(
    claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyset, "PAGE_ROWS", 4)
    batch = fetched(claude, 23)
    other = fetched(claude, 3)
    expected = [f"r-{number}" for number in range(23)]
    assert ids(batch.results.all()) == ids(batch.results.order_by("-pk")) == expected
    assert ids(BatchResult.objects.all()) == [*expected, *(f"r-{number}" for number in range(3))]
    monkeypatch.setattr(keyset, "PAGE_BYTES", 1)
    assert ids(BatchResult.objects.filter(batch__gte=other.pk)) == [f"r-{number}" for number in range(3)]


def test_results_without_a_request_come_too(claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a batch that was made elsewhere, and those whose request somebody removed by SQL."""
    monkeypatch.setattr(keyset, "PAGE_ROWS", 2)
    adopted = claude.add_stranger(5)
    batch = fetched(claude, 4)
    services.adopt(adopted)
    elsewhere = MessageBatch.objects.get(anthropic_id=adopted)
    services.advance(elsewhere)
    assert ids(elsewhere.results.all()) == [f"stranger-{number}" for number in range(5)]
    gone = BatchRequest.objects.filter(batch=batch, position__lt=2)
    gone._raw_delete(gone.db)
    assert ids(batch.results.all()) == ["r-2", "r-3", "r-0", "r-1"]


def test_a_filter_goes_out_alone() -> None:
    with ClaudeEmulator(seed=1, replies=scripted(ANSWERS | {5: Reply("x", stop_reason="max_tokens")})) as claude:
        batch = fetched(claude, 7)
    results = batch.results.all()
    assert ids(results.errored()) == ["r-1", "r-2"]
    assert ids(results.filter(error_type="invalid_request_error")) == ["r-2"]
    assert ids(BatchResult.objects.none()) == []


@pytest.mark.parametrize(
    ("narrowing", "expected"),
    slow_but(
        2,
        [
            (ResultSelection(), "01234567"),
            (ResultSelection(outcomes=RESULT_FILTERS), "01234567"),
            (ResultSelection(outcomes=["refused"]), "4"),
            (ResultSelection(outcomes=["unfinished"]), "7"),
            (ResultSelection(outcomes=["errored", "truncated"]), "125"),
            (ResultSelection(error_types=["invalid_request_error"]), "2"),
            (ResultSelection(error_types=["api_error", "invalid_request_error"]), "12"),
            (ResultSelection(error_types=[""]), ""),
            (ResultSelection(of_another_tier=True), "6"),
            (ResultSelection(beginning="r-"), "01234567"),
            (ResultSelection(beginning="r-1"), "1"),
            (ResultSelection(beginning="-1"), ""),
            (ResultSelection(outcomes=["errored", "truncated"], beginning="r-5"), "5"),
            (ResultSelection(outcomes=["truncated"], error_types=["api_error"]), ""),
        ],
    ),
)
def test_what_is_narrowed_goes_out_alone(narrowing: ResultSelection, expected: str) -> None:
    early = {5: Reply("x", stop_reason="max_tokens"), 7: Reply("x", stop_reason="pause_turn")}
    with ClaudeEmulator(seed=1, replies=scripted(ANSWERS | early)) as claude:
        batch = fetched(claude, 8)
        fetched(claude, 8)
    batch.results.filter(custom_id="r-6").update(service_tier="standard")
    assert ids(narrowing.apply(batch.results.all())) == [f"r-{number}" for number in expected]


def test_a_filter_by_target_goes_out_alone(claude: ClaudeEmulator) -> None:
    book = Book.objects.create(title="One")
    batch = MessageBatch.objects.create_draft([item(0), {**item(1), "target": book}])
    services.advance(services.submit(batch))
    claude.finish()
    services.advance(batch)
    assert ids(BatchResult.objects.for_target(book)) == ["r-1"]


def test_what_was_purged_is_left_out_and_counted() -> None:
    """Also an error, of which nobody can say any more whether its original line told more than its columns."""
    with ClaudeEmulator(seed=1, replies=scripted(ANSWERS)) as claude:
        batch = fetched(claude, 5)
    batch.results.filter(custom_id="r-0").update(message=None)
    export = JsonlExport(batch.results.all())
    assert b'"r-0"' not in b"".join(export)
    assert (export.rows, export.left_out) == (4, 1)
    MessageBatch.objects.filter(pk=batch.pk).update(result_purge_began_at=timezone.now())
    export = JsonlExport(batch.results.all())
    assert [json.loads(line)["custom_id"] for line in b"".join(export).splitlines()] == ["r-3", "r-4"]
    assert (export.rows, export.left_out) == (2, 3)
