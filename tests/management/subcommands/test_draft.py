from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection

from django_claude_batches.models import BatchRequest, MessageBatch, State
from django_claude_batches.request_files import RequestFile
from tests.harness.factories import item
from tests.management.conftest import Manage

pytestmark = pytest.mark.django_db

Write = Callable[[bytes | str], Path]


def lines(*numbers: int) -> str:
    return "".join(f"{json.dumps(item(number))}\n" for number in numbers)


def test_each_line_becomes_a_request(manage: Manage, jsonl: Write) -> None:
    ran = manage("draft", jsonl(lines(0, 1, 2)), "--label", "Tags, nightly", "--kind", "review-tags")
    batch = MessageBatch.objects.get()
    assert (ran.code, batch.state, batch.request_count) == (0, State.DRAFT, 3)
    assert (batch.label, batch.kind, batch.account) == ("Tags, nightly", "review-tags", "default")
    assert [request.params for request in batch.requests.all()] == [item(number)["params"] for number in range(3)]
    assert ran.out.startswith(f'#{batch.pk} "Tags, nightly": Draft, 3 requests.')
    # low 3 * 1 * 5 / 1e6 / 2; high (285 / 2 * 1 + 192 * 5) / 1e6 / 2
    assert " Estimate: $0.00 to $0.01 by the prices of 2026-11-22.\n" in ran.out


def test_standard_input(manage: Manage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines(7).encode())))
    assert manage("draft", "-").code == 0
    assert MessageBatch.objects.get().requests.get().custom_id == "r-7"


def test_json_is_the_only_thing_on_standard_output(manage: Manage, jsonl: Write) -> None:
    ran = manage("draft", jsonl(lines(0)), "--json")
    [shown] = ran.document["batches"]
    assert (shown["id"], shown["state"], shown["request_count"]) == (MessageBatch.objects.get().pk, "draft", 1)


def test_submit_queues_it_at_once(manage: Manage, jsonl: Write) -> None:
    manage("draft", jsonl(lines(0)), "--submit")
    assert MessageBatch.objects.get().state == State.QUEUED


def test_a_byte_order_mark_blank_lines_and_a_missing_last_newline_do_no_harm(manage: Manage, jsonl: Write) -> None:
    content = b"\xef\xbb\xbf" + lines(0).encode() + b"\n  \r\n" + lines(1).encode().rstrip()
    assert manage("draft", jsonl(content)).code == 0
    assert MessageBatch.objects.get().request_count == 2


def test_a_line_separator_inside_a_text_ends_no_line(manage: Manage, jsonl: Write) -> None:
    request = item(0)
    request["params"]["system"] = "a\u2028b\x85c"
    assert manage("draft", jsonl(json.dumps(request, ensure_ascii=False))).code == 0
    assert MessageBatch.objects.get().requests.get().params["system"] == "a\u2028b\x85c"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"custom_id": "x", "params": {}', "not JSON: Expecting ',' delimiter at character 32"),
        (b"[1]", "not a JSON object"),
        (b'{"custom_id": "\xff"}', "not UTF-8: byte 0xff at 16"),
        (b"[" * 100_000, "not JSON"),
        (b'{"custom_id": "x"}', 'each item must be a mapping with "params"'),
        (b'{"custom_id": "a b", "params": {}}', "(custom_id 'a b'): custom_id may hold only"),
        (b'{"custom_id": "x", "params": {"temperature": NaN}}', "cannot be encoded as JSON"),
        (b'{"custom_id": "x", "params": {"model": "a", "model": "b"}}', "the key 'model' occurs twice in one object"),
        (b'{"custom_id": "x", "params": {"stream": true}}', "params.stream is not supported in a batch"),
        (json.dumps(item(0)).encode(), "custom_id is used twice"),
        (b'{"custom_id": "x", "parms": {}, "params": {}}', "unknown key 'parms'"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_drafted(manage: Manage, jsonl: Write, bad: bytes, reason: str) -> None:
    path = jsonl(lines(0).encode() + b"\n\n" + bad + b"\n" + lines(1).encode())
    ran = manage("draft", path)
    assert ran.code == 1
    assert f"{path}, line 4" in ran.err
    assert reason in ran.err
    assert ran.err.endswith("Nothing was drafted.")
    assert not MessageBatch.objects.exists()
    assert not BatchRequest.objects.exists()


def test_a_line_larger_than_any_batch_is_not_read_to_its_end() -> None:
    class Endless(io.RawIOBase):
        def readline(self, size: int | None = -1) -> bytes:
            return b"x" * (size or 0)

    with pytest.raises(ValueError, match="endless, line 1: it has more than 32,000,000 bytes"):
        next(iter(RequestFile(Endless(), name="endless")))  # type: ignore[arg-type]


def test_an_empty_file(manage: Manage, jsonl: Write) -> None:
    ran = manage("draft", jsonl("\n \n"))
    assert ran.code == 1
    assert "a batch needs at least one request, and there was none. Nothing was drafted." in ran.err


def test_a_missing_file_and_a_folder(manage: Manage, tmp_path: Path) -> None:
    missing, folder = manage("draft", tmp_path / "nope.jsonl"), manage("draft", tmp_path)
    assert (missing.code, folder.code) == (1, 1)
    assert "nope.jsonl: No such file or directory" in missing.err
    assert "Is a directory" in folder.err


def test_an_unknown_account(manage: Manage, jsonl: Write) -> None:
    ran = manage("draft", jsonl(lines(0)), "--account", "defualt")
    assert ran.code == 1
    assert 'Unknown account "defualt": did you mean "default"?' in ran.err
    assert not MessageBatch.objects.exists()


@pytest.mark.parametrize(("option", "value"), [("--kind", "not a slug"), ("--label", "x" * 201)])
def test_a_kind_or_label_that_the_column_does_not_take(manage: Manage, jsonl: Write, option: str, value: str) -> None:
    ran = manage("draft", jsonl(lines(0)), option, value)
    assert ran.code != 0
    assert option in ran.err
    assert not MessageBatch.objects.exists()


def test_the_number_of_requests_is_shown_on_a_terminal(manage: Manage, jsonl: Write) -> None:
    ran = manage("draft", jsonl(lines(0, 1)), "--json", terminal=True)
    assert "\r\x1b[K2 requests drafted" in ran.err
    assert ran.err.endswith("\r\x1b[K")
    assert len(ran.document["batches"]) == 1


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    path.write_text("review,age\nwarm,3\n\nitchy,4\n")
    return path


ASKED = ("--prompt", "Tag: {review}", "--model", "claude-haiku-4-5")


def test_each_row_of_a_table_is_asked(manage: Manage, table: Path, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}')
    ran = manage("draft", table, *ASKED, "--max-tokens", 9, "--system", "Be brief.", "--schema", schema)
    assert ran.code == 0, ran.err
    first, second = MessageBatch.objects.get().requests.order_by("position")
    assert (first.custom_id, second.custom_id) == ("row-2", "row-4")
    assert first.params == {
        "model": "claude-haiku-4-5",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Tag: warm"}],
        "system": "Be brief.",
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
    }


def test_the_delimiter_of_a_table_may_be_chosen(manage: Manage, table: Path) -> None:
    table.write_text("review|n\nwarm|1\n")
    assert manage("draft", table, *ASKED, "--delimiter", "pipe").code == 0
    assert "the header has: review|n" in manage("draft", table, *ASKED, "--delimiter", "tab").err


def test_a_bad_row_of_a_table_is_named_and_nothing_is_drafted(manage: Manage, table: Path) -> None:
    table.write_text("review,age\nwarm,3\nitchy\n")
    ran = manage("draft", table, *ASKED)
    assert ran.code == 1
    assert ran.err == f"{table}, row 3: it has 1 cell, and the header has 2. Nothing was drafted."
    assert not MessageBatch.objects.exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], "is a table and needs --prompt"),
        (["--delimiter", "tab"], "--delimiter is for CSV files, and needs --prompt"),
        (["--model", "m"], "--model is for CSV files, and needs --prompt"),
        (["--prompt", "{review}"], "--prompt needs --model"),
        (["--prompt", "{review.__class__}", "--model", "m"], "is not just a column's name"),
        (["--prompt", "{review}", "--model", "m", "--max-tokens", "0"], "--max-tokens must be at least 1"),
        (["--prompt", "{review}", "--model", "m", "--schema", "/nowhere.json"], "Cannot read /nowhere.json"),
        (
            ["--prompt", "{colour}", "--model", "m"],
            "the prompt names a column 'colour', and the header has: review, age",
        ),
    ],
)
def test_half_a_question(manage: Manage, table: Path, options: list[str], reason: str) -> None:
    ran = manage("draft", table, *options)
    assert ran.code == 1
    assert reason in ran.err
    assert "Nothing was drafted." in ran.err
    assert not MessageBatch.objects.exists()


def test_a_dry_run_shows_the_first_requests_and_stores_nothing(manage: Manage, table: Path) -> None:
    ran = manage("draft", table, *ASKED, "--dry-run")
    assert ran.code == 0
    assert 'row-2: {"model":"claude-haiku-4-5","max_tokens":1024' in ran.out
    assert "2 requests, 3" in ran.out
    assert "It can be drafted" in ran.out
    assert not MessageBatch.objects.exists()


def test_a_dry_run_names_every_bad_row(manage: Manage, jsonl: Write) -> None:
    path = jsonl(lines(0) + "{}\n" * 1200 + lines(1))
    ran = manage("draft", path, "--dry-run")
    assert ran.code == 1
    assert ran.out.count(': each item must be a mapping with "params".\n') == 1200
    assert f"{path}, line 1201: " in ran.out
    assert ran.err.endswith("cannot be drafted: 1,200 bad rows.")
    shown = manage("draft", path, "--dry-run", "--json").document
    assert (shown["rows"], shown["request_count"], shown["bad_count"]) == (1202, 2, 1200)
    assert shown["bad_rows"][0] == {"number": 2, "reason": 'each item must be a mapping with "params"'}
    assert not MessageBatch.objects.exists()


def test_a_dry_run_of_nothing(manage: Manage, jsonl: Write) -> None:
    ran = manage("draft", jsonl("\n"), "--dry-run")
    assert (ran.code, "no request in it" in ran.err) == (1, True)


def test_the_estimate_says_that_a_model_retires(manage: Manage, jsonl: Write) -> None:
    path = jsonl(f"{json.dumps(item(0, model='claude-sonnet-4-5'))}\n")
    assert "claude-sonnet-4-5 retire" in manage("draft", path, "--dry-run").out


HOT = {"model": "claude-opus-5", "temperature": 1}


def test_a_dry_run_says_what_models_refuse_once_for_all_rows(manage: Manage, jsonl: Write) -> None:
    some = [item(n) for n in range(2)] + [item(n, **HOT) for n in range(2, 1202)]
    path = jsonl("".join(f"{json.dumps(one)}\n" for one in some))
    warning = "claude-opus-5 refuses temperature (1,200 requests, the first is r-2)"
    ran = manage("draft", path, "--dry-run")
    assert (ran.code, ran.out.count("refuses")) == (0, 1)
    assert f"{warning}." in ran.out
    assert manage("draft", path, "--dry-run", "--json").document["estimate"]["warnings"] == [warning]
    drafted = manage("draft", path, "--json").document["batches"][0]
    assert drafted["estimate"]["warnings"] == [warning]


@pytest.mark.database
@pytest.mark.parametrize(
    ("text", "needed"), [("x" * 17_000_000, "17,06"), ('"' * 5_000_000, "20,06")], ids=["large", "doubled"]
)
def test_a_row_too_large_for_a_statement_is_found_by_the_dry_run(
    manage: Manage, jsonl: Write, text: str, needed: str
) -> None:
    rows = [item(0), {**item(1), "params": {**item(1)["params"], "system": text}}]
    path = jsonl("".join(f"{json.dumps(one)}\n" for one in rows))
    looked, drafted = manage("draft", path, "--dry-run"), manage("draft", path)
    if connection.vendor != "mysql":
        assert (looked.code, drafted.code) == (0, 0)
        return
    assert (looked.code, drafted.code) == (1, 1)
    for said in (looked.out, drafted.err):
        assert f"{path}, line 2" in said
        assert f"the row needs {needed}" in said
        assert "max_allowed_packet" in said
    assert not MessageBatch.objects.exists()


def test_a_dry_run_names_the_file_where_the_prompt_is_wrong(manage: Manage, tmp_path: Path) -> None:
    table = tmp_path / "tickets.csv"
    table.write_text("text\nwarm\n")
    ran = manage("draft", table, "--prompt", "{txet}", "--model", "claude-haiku-4-5", "--dry-run")
    assert f"{table}: the prompt names a column 'txet' (did you mean 'text'?), and the header has: text." in ran.out
    assert (ran.code, "its header or the prompt is wrong" in ran.err) == (1, True)
    ran = manage("draft", table, "--prompt", "{txet}", "--model", "claude-haiku-4-5")
    assert (ran.code, f"{table}: the prompt names a column 'txet'" in ran.err) == (1, True)
