"""The ledger, in this process and over HTTP, and the control over HTTP."""

from __future__ import annotations

import hashlib

import pytest

from tests.testing.caller import BATCHES, call, create, encoded, requests_of


@pytest.fixture
def claude(claude_emulator):
    return claude_emulator


def ask(claude, method, verb, **arguments):
    body = arguments if method == "POST" else None
    return call(claude, method, f"/_emulator/{verb}", body=body, x_api_key=None, anthropic_version=None)


def test_creates(claude):
    claude.fault("lost_answer", at=2)
    claude.fault("overloaded", at=3)
    body = encoded(requests_of("tag1_a", "tag1_b"))
    call(claude, "POST", BATCHES, body=body, User_Agent="me/1.0")
    with pytest.raises(ConnectionError):
        create(claude, "tag2_a")
    call(claude, "POST", BATCHES, body=requests_of("tag2_a"))
    call(claude, "GET", BATCHES)
    ledger = claude.ledger()
    first, second = claude.batches
    told = [(create["status"], create["answer"], create["batch_id"], create["faults"]) for create in ledger["creates"]]
    assert told == [
        (200, "whole", first.id, []),
        (0, "lost", second.id, ["lost_answer"]),
        (529, "whole", None, ["overloaded"]),
    ]
    create_ = ledger["creates"][0]
    assert (create_["body_bytes"], create_["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    assert (create_["headers"]["user-agent"], create_["headers"]["x-api-key"]) == ("me/1.0", "(redacted)")
    assert create_["at"] == claude.requests[0].at.isoformat()
    assert ledger["batches_by_tag"] == {"tag1": 1, "tag2": 1}
    assert [request["path"] for request in ledger["requests"]] == [BATCHES] * 4


def test_batches(claude):
    batch_id = create(claude, "t_a", "t_b")
    create(claude, "t_c")
    stranger = claude.add_stranger(2)
    claude.finish(batch_id)
    call(claude, "DELETE", f"{BATCHES}/{batch_id}")
    ledger = claude.ledger()
    told = [(batch["tag"], batch["request_count"], batch["stranger"], batch["deleted"]) for batch in ledger["batches"]]
    assert told == [("t", 2, False, True), ("t", 1, False, False), ("", 2, True, False)]
    assert ledger["batches"][0]["request_counts"]["succeeded"] == 2
    assert ledger["batches"][2]["id"] == stranger
    assert ledger["batches_by_tag"] == {"t": 2}


@pytest.mark.parametrize(
    ("custom_ids", "tag"),
    [(["x_a", "x_b_c"], "x"), (["x_a", "y_a"], ""), (["a"], ""), (["x_a", "a"], ""), (["_a"], "")],
)
def test_a_tag_is_what_all_custom_ids_begin_with(claude, custom_ids, tag):
    create(claude, *custom_ids)
    assert claude.ledger()["batches_by_tag"] == {tag: 1}


def test_downloads(claude):
    batch_id = create(claude, "a", "b", "c")
    claude.finish()
    claude.fault("cut_at_line_end", after=1, clean=True)
    answers = [call(claude, "GET", f"{BATCHES}/{batch_id}/results") for _ in range(2)]
    told = claude.ledger()["downloads"]
    assert [(each["batch_id"], each["complete"]) for each in told] == [(batch_id, False), (batch_id, True)]
    assert [each["custom_ids"] for each in told] == [list(answer.lines) for answer in answers]


def test_strangers_are_real_batches_of_their_workspace(claude):
    mine = claude.add_stranger(3)
    claude.add_stranger(3, workspace_id="wrkspc_other")
    (shown,) = call(claude, "GET", BATCHES).json["data"]
    assert (shown["id"], shown["request_counts"]["processing"]) == (mine, 3)
    claude.finish()
    lines = call(claude, "GET", f"{BATCHES}/{mine}/results").lines
    assert {name: line["type"] for name, line in lines.items()} == dict.fromkeys(
        ("stranger-0", "stranger-1", "stranger-2"), "succeeded"
    )
    assert [(batch.stranger, batch.workspace_id) for batch in claude.batches] == [
        (True, claude.workspace_id),
        (True, "wrkspc_other"),
    ]


def test_over_http_the_ledger_is_the_same_and_does_not_contain_the_call_for_it(claude):
    create(claude, "t_a")
    answer = ask(claude, "GET", "ledger")
    told = answer.json
    assert told.pop("now") <= claude.now().isoformat()
    assert (answer.status, told) == (200, claude.ledger())
    assert len(claude.requests) == 1


def test_steering_over_http(claude):
    batch_id = create(claude)
    second = create(claude)
    assert ask(claude, "POST", "finish", batch_id=batch_id).json == {"returned": None}
    assert [batch.processing_status for batch in claude.batches] == ["ended", "in_progress"]
    assert ask(claude, "POST", "archive", batch_id=batch_id).status == 200
    assert claude.batches[0].archived_at
    assert ask(claude, "POST", "expire", batch_id=second).status == 200
    assert claude.batches[1].request_counts["expired"] == 1
    before = claude.now()
    assert ask(claude, "POST", "pass_time", seconds=3600).status == 200
    assert (claude.now() - before).total_seconds() >= 3600
    stranger = ask(claude, "POST", "add_stranger", count=2).json["returned"]
    assert claude.batches[2].id == stranger
    assert ask(claude, "POST", "fault", name="overloaded", at=2, times=None, on=["list"]).status == 200
    assert [call(claude, "GET", BATCHES).status for _ in range(3)] == [200, 529, 529]
    assert call(claude, "POST", "/_emulator/clear_faults").status == 200
    assert call(claude, "GET", BATCHES).status == 200


@pytest.mark.parametrize(
    ("method", "verb", "arguments", "status", "error"),
    [
        ("POST", "finish", {"batch_id": "x"}, 400, "this emulator has no batch x"),
        ("POST", "pass_time", {"seconds": -1}, 400, "time cannot pass backwards"),
        ("POST", "pass_time", {"hours": 1}, 400, "unexpected keyword argument 'hours'"),
        ("POST", "fault", {"name": "x"}, 400, "unknown fault 'x'"),
        ("POST", "add_key", {"key": "x"}, 404, "GET ledger, or POST finish, expire"),
        ("POST", "ledger", {}, 404, "GET ledger"),
        ("GET", "finish", {}, 404, "GET ledger"),
    ],
)
def test_errors_are_returned_with_their_message(claude, method, verb, arguments, status, error):
    answer = ask(claude, method, verb, **arguments)
    assert answer.status == status
    assert error in answer.json["error"]


def test_a_body_that_is_not_json_is_refused(claude):
    assert call(claude, "POST", "/_emulator/finish", body=b"{").status == 400
    assert call(claude, "POST", "/_emulator/finish", body=b"[1]").status == 400
