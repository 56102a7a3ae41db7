"""Values that break databases, in every place of a result line: a row that gives the original back, or a problem.

The neighbors of such a line must be as ever, and the batch must come to its end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.urls import reverse

from django_claude_batches import services
from django_claude_batches.client.jsonl import MAX_LINE_BYTES
from django_claude_batches.models import BatchResult, MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import running
from tests.harness.hostile_values import CHANGED, EITHER, KEPT, REFUSED, VALUES, Value
from tests.harness.relay import Relay, rewrite
from tests.harness.selections import slow_but

pytestmark = [pytest.mark.django_db, pytest.mark.database]

HERE = "the-value-stands-here"
USUAL_DETAILS = {"error_visibility": "user_facing"}

Document = dict[str, Any]


def in_message(**changes: Any) -> Callable[[Document], None]:
    return lambda line: line["result"]["message"].update(changes)


def in_usage(**changes: Any) -> Callable[[Document], None]:
    return lambda line: line["result"]["message"]["usage"].update(changes)


def in_error(envelope: Any = None, **changes: Any) -> Callable[[Document], None]:
    error = {"details": USUAL_DETAILS, "type": "api_error", "message": "no"} | changes
    whole = {"type": "error", "error": error, "request_id": None} | (envelope or {})
    return lambda line: line.update(result={"type": "errored", "error": whole})


def deep_in(line: Document) -> None:
    block = {"type": "tool_use", "id": "t", "name": "n", "input": {"a": [{"b": [HERE]}]}}
    line["result"]["message"]["content"].append(block)


PLACES: dict[str, Callable[[Document], None]] = {
    "custom_id": lambda line: line.update(custom_id=HERE),
    "text": lambda line: line["result"]["message"]["content"].append({"type": "text", "text": HERE}),
    "deep in": deep_in,
    "a key": in_message(odd={HERE: 1}),
    "stop_sequence": in_message(stop_sequence=HERE),
    "stop_reason": in_message(stop_reason=HERE),
    "model": in_message(model=HERE),
    "content": in_message(content=HERE),
    "usage": in_message(usage=HERE),
    "input_tokens": in_usage(input_tokens=HERE),
    "output_tokens": in_usage(output_tokens=HERE),
    "cache writes": in_usage(cache_creation={"ephemeral_5m_input_tokens": HERE, "ephemeral_1h_input_tokens": HERE}),
    "service_tier": in_usage(service_tier=HERE),
    "message": lambda line: line["result"].update(message=HERE),
    "beside the message": lambda line: line["result"].update(odd=HERE),
    "beside the result": lambda line: line.update(odd=HERE),
    "result.type": lambda line: line["result"].update(type=HERE),
    "error message": in_error(message=HERE),
    "error type": in_error(type=HERE),
    "error details": in_error(details={"odd": HERE}),
    "beside the error's message": in_error(odd=HERE),
    "error request_id": in_error({"request_id": HERE}),
    "error": in_error({"error": HERE}),
    "error envelope": lambda line: line.update(result={"type": "errored", "error": HERE}),
}
NEIGHBORS = ("a neighbor", "another")


def spoiled(name: str, value: Value, line: Document) -> bytes:
    PLACES[name](line)
    data = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()
    return data.replace(json.dumps(HERE).encode(), value.json)


def ingested(claude: ClaudeEmulator, settings: Any, spoil: Callable[[str, Document], bytes], names: Any) -> Any:
    """A finished batch whose lines were spoiled on their way, and what was sent of each."""
    settings.CLAUDE_BATCHES = {**settings.CLAUDE_BATCHES, "INGEST_ATTEMPTS": 1}
    batch = running(len(names))
    claude.finish()
    sent: dict[str, bytes] = {}

    def change(body: bytes) -> bytes:
        for data in body.splitlines():
            line = json.loads(data)
            name = names[int(line["custom_id"].rpartition("-")[2])]
            sent[name] = data if name in NEIGHBORS else spoil(name, line)
        return b"\n".join(sent.values()) + b"\n"

    with Relay(claude.url) as relay:
        relay.on("GET", "/results", rewrite(change))
        services.advance(batch)
    assert (batch.state, batch.usage.exists()) == (State.INGESTED, True), batch.last_error
    return batch, sent


def rows_of(batch: MessageBatch, names: Any) -> dict[str, BatchResult]:
    return {names[int(row.custom_id.removeprefix("r-"))]: row for row in batch.results.all()}


def strict(data: bytes | str) -> Any:
    """JSON of which nothing is lost but the order of keys: repeated ones stay, fractions keep their digits."""
    return json.loads(data, parse_float=Decimal, object_pairs_hook=lambda pairs: ("object", sorted(pairs, key=repr)))


def told_by(row: BatchResult, sent: bytes) -> str:
    """The line again, from the row's columns."""
    result: Document = {"type": row.result_type}
    if row.message is not None:
        result["message"] = row.message
    if row.error_type:
        error = {"details": USUAL_DETAILS, "type": row.error_type, "message": row.error_message}
        result["error"] = {"type": "error", "error": error, "request_id": row.error_request_id or None}
    return json.dumps({"custom_id": json.loads(sent)["custom_id"], "result": result})


def assert_kept(row: BatchResult, sent: bytes) -> None:
    if row.raw is not None:
        assert bytes(row.raw) == sent
    else:
        assert strict(told_by(row, sent)) == strict(sent)


def assert_said(batch: MessageBatch, sent: bytes) -> None:
    problem = batch.problems.get(sha256=hashlib.sha256(sent).hexdigest())
    assert problem.reason
    assert problem.number
    assert problem.excerpt[:12] == sent[:12].decode()


def is_readable(value: Value, place: str) -> bool:
    """None of the values is a custom_id, and a type must be a text."""
    refused = {"custom_id"} if value.is_text and value.json != b'""' else {"custom_id", "result.type"}
    return value.fate != REFUSED and place not in refused


@pytest.mark.parametrize("name", slow_but(15, VALUES))
def test_a_line_becomes_a_row_that_gives_it_back_or_a_problem(claude: ClaudeEmulator, settings: Any, name: str) -> None:
    value = VALUES[name]
    places = [place for place in PLACES if value.is_text or place != "a key"]
    names = [*places, *NEIGHBORS]
    batch, sent = ingested(claude, settings, lambda place, line: spoiled(place, value, line), names)
    rows = rows_of(batch, names)
    for place in places:
        if value.fate != EITHER or place == "custom_id":
            assert (place in rows) == is_readable(value, place), place
        if place not in rows:
            assert_said(batch, sent[place])
            continue
        assert_kept(rows[place], sent[place])
        if value.changed:
            assert rows[place].raw is not None, place
    assert len(rows) + batch.problems.count() == len(names)
    for neighbor in NEIGHBORS:
        assert rows[neighbor].raw is None
        assert strict(told_by(rows[neighbor], sent[neighbor])) == strict(sent[neighbor])
    if value.fate != REFUSED and value.read is not ...:
        read = rows["deep in"].message["content"][-1]["input"]["a"][0]["b"]
        # jsonb writes a float of 1e300 as a whole number.
        read = [float(read[0])] if isinstance(value.read, float) else read
        assert read == [value.read]


def test_a_line_with_two_custom_ids_answers_neither(claude: ClaudeEmulator, settings: Any) -> None:
    """The last of a repeated key counts, but here it would take the place of a neighbor's answer."""
    names = ["two", *NEIGHBORS]

    def spoil(_name: str, line: Document) -> bytes:
        other = line["custom_id"].replace("r-0", "r-1")
        return json.dumps(line).encode().replace(b"{", b'{"custom_id": "' + other.encode() + b'", ', 1)

    batch, sent = ingested(claude, settings, spoil, names)
    assert_said(batch, sent["two"])
    assert "a custom_id twice" in batch.problems.get().reason
    assert set(rows_of(batch, names)) == set(NEIGHBORS)


def test_sums_do_not_overflow(claude: ClaudeEmulator, settings: Any) -> None:
    """Each of these fits into its column, and their sum does not."""
    names = ["first", "second", "a neighbor"]

    def spoil(_name: str, line: Document) -> bytes:
        in_usage(input_tokens=2**63 - 1, output_tokens=2**62)(line)
        return json.dumps(line).encode()

    batch, _sent = ingested(claude, settings, spoil, names)
    assert rows_of(batch, names)["first"].message["usage"]["input_tokens"] == 2**63 - 1
    usage = batch.usage.get()
    assert usage.input_tokens == rows_of(batch, names)["a neighbor"].message["usage"]["input_tokens"]


@pytest.mark.slow
def test_the_pages_of_such_rows_open(claude: ClaudeEmulator, settings: Any, admin_client: Any) -> None:
    names = [*CHANGED, *KEPT, *NEIGHBORS]
    batch, _sent = ingested(claude, settings, lambda name, line: spoiled("deep in", VALUES[name], line), names)
    rows = rows_of(batch, names)
    assert len(rows) == len(names)
    for name, row in rows.items():
        page = admin_client.get(reverse("admin:django_claude_batches_batchresult_change", args=[row.pk]))
        assert page.status_code == 200, name
        assert ("tool_use" in page.content.decode()) == (name not in NEIGHBORS), name


def long_line(line: Document, size: int, **changes: Any) -> bytes:
    """The line with so much text that it has this many bytes."""
    line["result"]["message"] |= {"content": [{"type": "text", "text": ""}], **changes}
    data = json.dumps(line).encode()
    return data.replace(b'"text": ""', b'"text": "' + b"x" * (size - len(data)) + b'"')


@pytest.mark.parametrize("changes", [{}, {"odd": "\0"}], ids=["plain", "with its original"])
@pytest.mark.parametrize("size", slow_but(1, [7_500_000, 32_000_000]))
def test_a_long_line(claude: ClaudeEmulator, settings: Any, size: int, changes: Document) -> None:
    """MariaDB accepts 16 MB in a statement: a larger result is a problem there, and a row elsewhere.

    PyMySQL encodes each byte of an original as two digits (the lane `neighbours`).
    """
    names = ["long", *NEIGHBORS]
    batch, sent = ingested(claude, settings, lambda _name, line: long_line(line, size, **changes), names)
    rows = rows_of(batch, names)
    assert len(sent["long"]) == size
    if "long" in rows:
        assert_kept(rows["long"], sent["long"])
        assert (rows["long"].raw is None) == (not changes)
    else:
        assert_said(batch, sent["long"])
        assert "max_allowed_packet" in batch.problems.get().reason
    is_mysql = connection.vendor == "mysql"
    largest = 5_000_000 if is_mysql and changes and connection.Database.__name__ == "pymysql" else 8_000_000
    assert ("long" in rows) == (not is_mysql or size < largest)
    assert set(NEIGHBORS) <= set(rows)
    assert batch.missing_count == len(names) - len(rows)


@pytest.mark.slow
def test_a_line_longer_than_any_is_a_problem(claude: ClaudeEmulator, settings: Any) -> None:
    names = ["long", *NEIGHBORS]
    batch, sent = ingested(claude, settings, lambda _name, line: long_line(line, MAX_LINE_BYTES + 1), names)
    problem = batch.problems.get()
    assert len(sent["long"]) == MAX_LINE_BYTES + 1
    assert "longer than any answer" in problem.reason
    assert problem.excerpt.startswith('{"custom_id": "')
    assert set(rows_of(batch, names)) == set(NEIGHBORS)
