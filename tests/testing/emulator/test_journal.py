"""State in a file, which another emulator continues. Kills are in `test_process`."""

from __future__ import annotations

import json
import re
import stat

import pytest

from django_claude_batches.testing import ClaudeEmulator, Failure, scripted
from tests.testing.caller import BATCHES, call, create, params, requests_of

LIVELY = scripted({"a": Failure(), "b": "\ud800 and \u2028"})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.jsonl"


def results(claude, batch_id):
    return call(claude, "GET", f"{BATCHES}/{batch_id}/results").body


def test_the_whole_state_is_restored(path):
    with ClaudeEmulator(state=path, replies=LIVELY, processed_share=0.5) as claude:
        running, ended, canceling, canceled, archived, deleted = (create(claude, "a", "b", "c") for _ in range(6))
        call(claude, "POST", f"{BATCHES}/{canceling}/cancel")
        call(claude, "POST", f"{BATCHES}/{canceled}/cancel")
        for batch_id in (ended, canceled, archived, deleted):
            claude.finish(batch_id)
        claude.archive(archived)
        call(claude, "DELETE", f"{BATCHES}/{deleted}")
        claude.add_stranger(7, workspace_id="wrkspc_other")
        before, bodies, listing = claude.batches, [results(claude, ended), results(claude, canceled)], call_list(claude)
        identity, ledger = (claude.api_key, claude.workspace_id), claude.ledger()
    with ClaudeEmulator(state=path, replies=lambda params, custom_id: "otherwise") as claude:
        assert claude.ledger() == ledger
        assert (claude.api_key, claude.workspace_id) == identity
        assert claude.batches == before
        assert [results(claude, ended), results(claude, canceled)] == bodies
        assert call_list(claude)["data"] == [
            batch | {"results_url": batch["results_url"] and f"{claude.url}{BATCHES}/{batch['id']}/results"}
            for batch in listing["data"]
        ]
        claude.finish()
        assert b"otherwise" in results(claude, running)
        lines = [json.loads(line)["result"]["type"] for line in results(claude, canceling).splitlines()]
        assert sorted(lines) == ["canceled", "canceled", "errored"]


def call_list(claude):
    return call(claude, "GET", BATCHES).json


TREE = {"$defs": {"Tree": {"properties": {"child": {"$ref": "#/$defs/Tree"}}}}, "$ref": "#/$defs/Tree"}
BAD = {
    "recursive": {"output_config": {"format": {"type": "json_schema", "schema": TREE}}},
    "list": {"output_config": []},
    "enum": {"output_config": {"format": {"type": "json_schema", "schema": {"enum": []}}}},
    "dangling": {"output_config": {"format": {"type": "json_schema", "schema": {"$ref": "#/$defs/Nope"}}}},
    "tool": {"tools": 5, "tool_choice": [[]]},
}


def test_invalid_requests_are_errored_lines_also_after_a_restart(path):
    def served(claude):
        answers = [call(claude, "GET", f"{BATCHES}/{batch_id}/results").lines for batch_id in (bad, good)]
        return [{name: line["type"] for name, line in lines.items()} for lines in answers]

    expected = [dict.fromkeys(BAD, "errored") | {"fine": "succeeded"}, {"a": "succeeded"}]
    requests = [{"custom_id": name, "params": params(**changes)} for name, changes in BAD.items()]
    requests.append({"custom_id": "fine", "params": params()})
    with ClaudeEmulator(state=path) as claude:
        bad = call(claude, "POST", BATCHES, body={"requests": requests}).json["id"]
        good = create(claude)
    with ClaudeEmulator(state=path, seconds=0) as claude:
        assert {batch["processing_status"] for batch in call_list(claude)["data"]} == {"ended"}
        assert served(claude) == expected
    with ClaudeEmulator(state=path) as claude:
        assert served(claude) == expected


def test_a_batch_whose_replies_raised_is_asked_again_after_a_restart(path):
    def replies(params, custom_id):
        raise ZeroDivisionError

    with ClaudeEmulator(state=path, seconds=0, replies=replies) as claude:
        batch_id = create(claude)
        assert call(claude, "GET", f"{BATCHES}/{batch_id}").status == 500
    with ClaudeEmulator(state=path, seconds=0) as claude:
        assert b"Hello" in results(claude, batch_id)


@pytest.mark.parametrize("before", [None, 0o644])
def test_only_its_owner_may_read_the_file(path, before):
    if before:
        path.touch(before)
    with ClaudeEmulator(state=path) as claude:
        create(claude)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_ids_are_not_repeated_after_a_restart(path):
    seen = []
    for _ in range(3):
        with ClaudeEmulator(state=path, seed=1) as claude:
            seen += [create(claude), create(claude)]
    assert len(set(seen)) == 6
    assert [batch.id for batch in claude.batches] == seen
    request_ids = [request.request_id for request in claude.requests]
    assert len(set(request_ids)) == len(request_ids) == 6


def test_the_clock_does_not_go_back(path):
    with ClaudeEmulator(state=path) as claude:
        create(claude)
        claude.pass_time(23 * 3600)
        before = claude.now()
    with ClaudeEmulator(state=path) as claude:
        assert claude.now() >= before
        claude.pass_time(3600)
        assert claude.batches[0].request_counts["expired"] == 1


def test_a_batch_that_lands_late_lands_after_all(path):
    with ClaudeEmulator(state=path) as claude:
        claude.fault("lands_late", seconds=100)
        with pytest.raises(ConnectionError):
            create(claude)
    with ClaudeEmulator(state=path) as claude:
        assert claude.batches == []
        claude.pass_time(100)
        assert claude.batches[0].id == claude.requests[0].batch_id


def test_each_place_where_the_last_line_may_be_torn(path):
    with ClaudeEmulator(state=path) as claude:
        first, second = create(claude, "a"), create(claude, "b")
    whole = path.read_bytes()
    start = whole.index(second.encode())
    start = whole.rindex(b"\n", 0, start) + 1
    end = whole.index(b"\n", start)
    for torn in (start, start + 1, (start + end) // 2, end):
        path.write_bytes(whole[:torn])
        with ClaudeEmulator(state=path) as claude:
            assert [batch.id for batch in claude.batches] == [first]
            third = create(claude, "c")
        with ClaudeEmulator(state=path) as claude:
            assert [batch.id for batch in claude.batches] == [first, third]


@pytest.mark.parametrize("text", ["not JSON\n", "{}\n", "[1]\n", '"x"\n'])
def test_a_file_that_is_something_else(path, text):
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(f"{path}, line 1 is not an entry")):
        ClaudeEmulator(state=path)
    assert path.read_text() == text


def test_no_key_is_written(path):
    with ClaudeEmulator(state=path, api_key="sk-ant-canary-1") as claude:
        claude.add_key("sk-ant-canary-2")
        create(claude)
        call(claude, "GET", BATCHES, x_api_key=None, authorization="Bearer sk-ant-canary-2")
        call(claude, "GET", BATCHES, x_api_key="sk-ant-canary-3")
        assert claude.requests[1].headers["authorization"] == "Bearer sk-ant-canary-2"
        told = json.dumps(claude.ledger())
    assert "canary" not in path.read_text() + told
    assert told.count("(redacted)") == 4


def test_without_a_file_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ClaudeEmulator() as claude:
        create(claude)
    assert list(tmp_path.iterdir()) == []


def test_it_is_written_before_it_is_answered(path):
    with ClaudeEmulator(state=path) as claude:
        batch_id = call(claude, "POST", BATCHES, body=requests_of("a")).json["id"]
        kinds = [json.loads(line)[0] for line in path.read_bytes().splitlines()]
        assert kinds == ["begun", "batch", "request"]
        assert batch_id in path.read_text()
