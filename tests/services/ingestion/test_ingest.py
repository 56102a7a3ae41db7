"""No line lost, none counted twice, and one bad line never stops the others."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.client import Line
from django_claude_batches.models import BatchResult, MessageBatch, ResultProblem, State
from django_claude_batches.services.connection import connect
from django_claude_batches.services.ingestion import download, ingest
from django_claude_batches.services.ingestion.result_lines import parse
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, item, make_due, running
from tests.harness.relay import Relay, cut, refuse, rewrite
from tests.harness.selections import slow_but

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def ended(claude: ClaudeEmulator, count: int = 3) -> MessageBatch:
    batch = running(count)
    claude.finish()
    return batch


def lines_of(body: bytes) -> list[bytes]:
    return body.splitlines(keepends=True)


def without_first(body: bytes) -> bytes:
    return b"".join(lines_of(body)[1:])


def insert(line: bytes) -> Callable[[bytes], bytes]:
    return lambda body: line + b"\n" + body


@pytest.mark.parametrize(
    ("bad", "reason"),
    slow_but(
        2,
        [
            (b"not json", "not JSON"),
            (b'{"custom_id":"x"', "not JSON"),
            (b"[1,2]", 'not an object with a "result"'),
            (b'{"custom_id":"x","result":null}', 'not an object with a "result"'),
            (b'{"result":{"type":"succeeded"}}', "no custom_id"),
            (b'{"custom_id":"a b","result":{"type":"succeeded"}}', "no custom_id"),
            (b'{"custom_id":"foreign","result":{"type":"canceled"}}', "lacks the tag"),
            (b"\xff\xfe", "not JSON"),
            (b'{"custom_id":"x","result":' + b"[" * 100_000, "nested too deeply"),
            (b'{"custom_id":"x","result":{"type":7}}', "no type"),
            (b'{"custom_id":"x","result":{"type":"succeeded","n":' + b"1" * 5000 + b"}}", "not JSON"),
        ],
    ),
)
def test_a_bad_line_becomes_a_problem_and_its_neighbors_rows(claude: ClaudeEmulator, bad: bytes, reason: str) -> None:
    batch = ended(claude)
    with Relay(claude.url) as relay:
        relay.on("GET", "/results", rewrite(insert(bad)))
        services.advance(batch)
    assert (batch.state, batch.results.count()) == (State.INGESTED, 3)
    problem = batch.problems.get()
    assert reason in problem.reason
    assert (problem.number, problem.offset) == (1, 0)


def test_a_repeated_id_is_a_problem_and_the_first_line_counts(claude: ClaudeEmulator) -> None:
    batch = ended(claude)

    def repeat(body: bytes) -> bytes:
        first = json.loads(lines_of(body)[0])
        first["result"] = {"type": "canceled"}
        return body + json.dumps(first).encode() + b"\n"

    with Relay(claude.url) as relay:
        relay.on("GET", "/results", rewrite(repeat))
        services.advance(batch)
    assert (batch.state, batch.results.succeeded().count()) == (State.INGESTED, 3)
    assert "came before in this download" in batch.problems.get().reason


def test_stored_rows_are_never_changed_by_another_download(claude: ClaudeEmulator) -> None:
    batch = ended(claude)
    with Relay(claude.url) as relay:
        relay.on("GET", "/results", rewrite(without_first), times=1)
        relay.on("GET", "/results", rewrite(lambda body: body.replace(b"Hello", b"Other")))
        services.advance(batch)
        assert (batch.state, batch.results.count()) == (State.INCOMPLETE, 2)
        before = set(batch.results.values_list("pk", "custom_id"))
        services.advance(batch)
    assert batch.state == State.INGESTED
    assert before < set(batch.results.values_list("pk", "custom_id"))
    assert sum("Other" in result.text for result in batch.results.all()) == 1


@pytest.mark.parametrize("seed", slow_but(2, range(5)))
def test_a_connection_cut_anywhere_is_resumed(claude: ClaudeEmulator, seed: int) -> None:
    """A download that breaks is tried again for as long as it takes, and uses up none of the tries."""
    batch = ended(claude, 20)
    rng = random.Random(seed)

    with Relay(claude.url) as relay:
        relay.on("GET", "/results", cut(lambda body: body[: rng.randrange(len(body))]), times=3)
        for _ in range(3):
            services.advance(batch)
            make_due(batch)
        services.advance(batch)
    assert (batch.state, batch.results.count(), batch.missing_count) == (State.INGESTED, 20, 0)


def test_what_came_before_the_cut_is_kept(claude: ClaudeEmulator) -> None:
    batch = ended(claude, 10)
    with Relay(claude.url) as relay:
        relay.on("GET", "/results", cut(lambda body: b"".join(lines_of(body)[:5]) + b'{"custom'), times=1)
        services.advance(batch)
        assert batch.results.count() == 5
        assert batch.state == State.ENDED
        assert batch.failures == 1
        services.advance(batch)
    assert (batch.state, batch.results.count()) == (State.INGESTED, 10)


@pytest.mark.parametrize("status", slow_but(2, [404, 429, 500, 503]))
def test_a_passing_error_changes_nothing_but_the_next_try(claude: ClaudeEmulator, status: int) -> None:
    batch = ended(claude)
    with Relay(claude.url) as relay:
        relay.on("GET", "/results", refuse(status))
        services.advance(batch)
    assert (batch.state, batch.results.count(), batch.tries) == (State.ENDED, 0, 0)
    assert str(status) in batch.last_error
    assert batch.next_action_at > timezone.now()
    assert services.advance(batch).state == State.INGESTED


def test_counts_that_do_not_add_up_are_said(claude: ClaudeEmulator) -> None:
    batch = ended(claude)

    def one_canceled(body: bytes) -> bytes:
        data = json.loads(body)
        data["request_counts"] |= {"succeeded": 2, "canceled": 1}
        return json.dumps(data).encode()

    with Relay(claude.url) as relay:
        relay.on("GET", str(batch.anthropic_id), rewrite(one_canceled))
        services.advance(batch)
    assert batch.state == State.INCOMPLETE
    assert "3 lines succeeded where Anthropic counted 2" in batch.last_error


def test_an_unknown_outcome_is_kept(claude: ClaudeEmulator) -> None:
    batch = ended(claude, 2)

    def change(body: bytes) -> bytes:
        first, second = lines_of(body)
        custom_id = json.loads(first)["custom_id"]
        new = {"custom_id": custom_id, "result": {"type": "postponed", "until": "2027"}}
        return json.dumps(new).encode() + b"\n" + second

    with Relay(claude.url) as relay:
        relay.on("GET", "/results", rewrite(change))
        services.advance(batch)
    odd = batch.results.get(result_type="postponed")
    assert json.loads(bytes(odd.raw))["result"]["until"] == "2027"


def test_a_process_that_lost_the_lease_stores_nothing(claude: ClaudeEmulator) -> None:
    batch = ended(claude)
    token = MessageBatch.objects.acquire(batch.pk)
    assert token is not None
    services_client = connect(batch.account, anthropic_version=batch.anthropic_version)
    MessageBatch.objects.filter(pk=batch.pk).update(
        state=State.ENDED, processing_status="ended", lease_until=timezone.now() - timedelta(seconds=1)
    )
    assert ingest.ingest(batch, token, services_client) is False
    assert not batch.results.exists()


def test_a_chunk_that_the_database_refuses_is_tried_row_by_row(claude: ClaudeEmulator) -> None:
    """A strange row gets in the way of its neighbors once, and then becomes a problem."""
    batch = ended(claude, 5)
    stolen = batch.requests.get(custom_id="r-2")
    BatchResult.objects.create(batch=draft(1), request=stolen, custom_id="elsewhere", result_type="canceled")
    services.advance(batch)
    assert batch.results.count() == 4
    assert "The database refused the row of r-2" in batch.problems.get().reason
    assert (batch.state, batch.missing_count) == (State.INCOMPLETE, 1)


def test_many_chunks(claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "CHUNK_ROWS", 7)
    batch = ended(claude, 30)
    services.advance(batch)
    assert (batch.state, batch.results.count()) == (State.INGESTED, 30)
    assert not batch.requests.missing().exists()


def test_while_a_line_comes_slowly_the_lease_is_renewed_and_what_came_is_stored(
    claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "CHUNK_SECONDS", 0.2)
    batch = ended(claude, 2)
    claude.fault("huge_line", line=2, size=2_000)
    claude.fault("trickle", piece_bytes=80, pause=0.02, on="results")
    stored: list[int] = []

    def look(execute: Any, sql: str, *arguments: Any) -> Any:
        done = execute(sql, *arguments)
        if sql.startswith("UPDATE") and "lease_until" in sql:
            stored.append(batch.results.count())
        return done

    with connection.execute_wrapper(look):
        services.advance(batch)
    assert (batch.state, batch.results.count()) == (State.INGESTED, 2)
    assert stored.count(1) > 1


def test_results_that_come_too_slowly_end_and_what_came_is_stored(claude: ClaudeEmulator, settings: Any) -> None:
    limits = {"TIMEOUTS": (5, 0.5), "MIN_RESULTS_RATE": 1_000_000}
    settings.CLAUDE_BATCHES = {"ACCOUNTS": {"default": limits}}
    batch = ended(claude, 20)
    claude.fault("trickle", piece_bytes=40, pause=0.01, on="results")
    services.advance(batch)
    assert 0 < batch.results.count() < 20
    assert batch.state == State.ENDED
    assert "less than 1,000,000 bytes per second (min_results_rate, MIN_RESULTS_RATE)" in batch.last_error
    services.advance(batch)
    assert (batch.state, batch.results.count()) == (State.INGESTED, 20)


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_an_id_whose_first_line_cannot_be_read_has_its_row_from_the_second(
    claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(download, "CHUNK_ROWS", rows)
    batch = ended(claude)

    def broken_first(body: bytes) -> bytes:
        first = lines_of(body)[0]
        return first.rstrip()[:-1] + b"\n" + body

    with Relay(claude.url) as relay:
        relay.on("GET", "/results", rewrite(broken_first))
        services.advance(batch)
    assert (batch.state, batch.results.succeeded().count()) == (State.INGESTED, 3), batch.last_error
    assert "not JSON" in batch.problems.get().reason


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_a_repeated_id_is_found_in_any_chunk_and_when_its_row_was_stored_before(
    claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(download, "CHUNK_ROWS", rows)
    batch = ended(claude, 5)
    with Relay(claude.url) as relay:
        relay.on("GET", "/results", rewrite(without_first), times=1)
        relay.on("GET", "/results", rewrite(lambda body: body + lines_of(body)[0] + lines_of(body)[-1]))
        services.advance(batch)
        assert (batch.state, batch.results.count()) == (State.INCOMPLETE, 4)
        services.advance(batch)
    assert (batch.state, batch.results.count(), batch.last_error) == (State.INGESTED, 5, "")
    assert [problem.number for problem in batch.problems.order_by("number")] == [6, 7]


def test_usage_is_summed_by_model(claude: ClaudeEmulator) -> None:
    items = [item(n, model="claude-opus-4-6" if n % 2 else "claude-sonnet-4-6") for n in range(5)]
    batch = services.advance(services.submit(MessageBatch.objects.create_draft([*items, item(9, model="unknown")])))
    claude.finish()
    services.advance(batch)
    sums = {usage.model: (usage.results, usage.output_tokens) for usage in batch.usage.all()}
    assert {model: count for model, (count, _tokens) in sums.items()} == {"claude-opus-4-6": 2, "claude-sonnet-4-6": 3}
    for model, (_count, tokens) in sums.items():
        assert tokens == sum(batch.results.filter(model=model).values_list("output_tokens", flat=True)) > 0
    errored = batch.results.errored().get()
    assert (errored.error_type, errored.error_message) == ("not_found_error", "model: unknown")


def with_errors(kinds: list[str]) -> Callable[[bytes], bytes]:
    """Make the first lines errors of these kinds, as they come."""

    def rewritten(body: bytes) -> bytes:
        lines = [json.loads(line) for line in lines_of(body)]
        for line, kind in zip(lines, kinds, strict=False):
            line["result"] = {"type": "errored", "error": {"type": "error", "error": {"type": kind, "message": "no"}}}
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    return rewritten


def test_errors_are_counted_by_kind_the_most_frequent_first(claude: ClaudeEmulator) -> None:
    batch = ended(claude, 60)
    other = ended(claude, 1)
    kinds = ["rare", *["often"] * 3, *["as_rare"] * 1, *(f"kind_{number:02}" for number in range(40))]
    with Relay(claude.url) as relay:
        relay.on("GET", "/results", rewrite(with_errors(kinds)), times=1)
        services.advance(batch)
        services.advance(other)
    groups = [(group["error_type"], group["count"]) for group in batch.error_groups or []]
    assert groups == [("often", 3), ("as_rare", 1), *((f"kind_{number:02}", 1) for number in range(18))]
    assert (batch.state, other.error_groups) == (State.INCOMPLETE, [])


def test_an_error_in_a_line_that_succeeded_is_no_error_of_the_batch(claude: ClaudeEmulator) -> None:
    batch = ended(claude, 2)

    def both(body: bytes) -> bytes:
        first, *rest = lines_of(body)
        line = json.loads(first)
        line["result"]["error"] = {"type": "error", "error": {"type": "odd_error", "message": "no"}}
        return json.dumps(line).encode() + b"\n" + b"".join(rest)

    with Relay(claude.url) as relay:
        relay.on("GET", "/results", rewrite(both))
        services.advance(batch)
    assert batch.results.filter(error_type="odd_error", result_type="succeeded").exists()
    assert (batch.state, batch.error_groups, batch.usage.get().results) == (State.INGESTED, [], 2)


class TestParsing:
    """One line, without a database."""

    def line(self, result: Any, custom_id: Any = "c-1") -> Line:
        return Line(1, 0, json.dumps({"custom_id": custom_id, "result": result}).encode(), False)

    def test_an_oversized_line_is_a_problem(self) -> None:
        problem = parse(Line(4, 77, b"{" + b"x" * 9999, True))
        assert isinstance(problem, ResultProblem)
        assert (problem.number, problem.offset, len(problem.excerpt)) == (4, 77, 500)

    def test_errors_nest(self) -> None:
        error = {"type": "invalid_request_error", "message": "no", "details": {"error_visibility": "user_facing"}}
        envelope = {"type": "error", "error": error, "request_id": "workerreq_1"}
        row = parse(self.line({"type": "errored", "error": envelope}))
        assert isinstance(row, BatchResult)
        assert (row.error_type, row.error_message, row.error_request_id) == (
            "invalid_request_error",
            "no",
            "workerreq_1",
        )

    @pytest.mark.parametrize("usage", [None, 7, [], {}, {"input_tokens": "5"}, {"input_tokens": -1}])
    def test_odd_usage_is_unknown_and_never_an_error(self, usage: Any) -> None:
        row = parse(self.line({"type": "succeeded", "message": {"usage": usage, "content": None}}))
        assert isinstance(row, BatchResult)
        assert row.input_tokens is None
        assert row.text == ""

    def test_the_text_is_all_text_blocks_and_no_thinking(self) -> None:
        content = [
            {"type": "thinking", "thinking": "hm"},
            {"type": "text", "text": "Hello "},
            {"type": "new_block", "text": 7},
            {"type": "text", "text": "world"},
        ]
        row = parse(self.line({"type": "succeeded", "message": {"content": content}}))
        assert isinstance(row, BatchResult)
        assert row.text == "Hello world"

    def test_cache_writes_without_a_split_count_as_5_minutes(self) -> None:
        usage = {"cache_creation": None, "cache_creation_input_tokens": 9, "cache_read_input_tokens": 4}
        row = parse(self.line({"type": "succeeded", "message": {"usage": usage}}))
        assert isinstance(row, BatchResult)
        assert (row.cache_write_5m_tokens, row.cache_write_1h_tokens, row.cache_read_tokens) == (9, None, 4)

    def test_a_text_that_is_too_long_for_its_column_is_cut_and_the_line_kept(self) -> None:
        row = parse(self.line({"type": "x" * 50, "message": {"stop_reason": "y" * 100}}))
        assert isinstance(row, BatchResult)
        assert (len(row.result_type), len(row.stop_reason)) == (40, 60)
        assert row.raw is not None
