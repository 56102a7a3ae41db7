"""The endpoints over HTTP: statuses, headers and bodies."""

from __future__ import annotations

import gzip
import http.client
import json
import re
from datetime import datetime, timedelta

import pytest

from django_claude_batches.testing import ClaudeEmulator
from tests.testing.caller import BATCHES, call, create, params, requests_of

BASE58 = "[1-9A-HJ-NP-Za-km-z]"
UNCHANGED_SINCE_CREATE = {"ended_at": None, "archived_at": None, "cancel_initiated_at": None, "results_url": None}


@pytest.fixture
def claude(claude_emulator):
    return claude_emulator


def test_create_answers_with_the_batch_key_for_key(claude):
    answer = call(claude, "POST", BATCHES, body=requests_of("a", "b"))
    batch = answer.json
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert re.fullmatch(f"msgbatch_01{BASE58}{{22}}", batch.pop("id"))
    created_at, expires_at = batch.pop("created_at"), batch.pop("expires_at")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", created_at)
    assert datetime.fromisoformat(expires_at) - datetime.fromisoformat(created_at) == timedelta(hours=24)
    counts = {"processing": 2, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    assert batch == UNCHANGED_SINCE_CREATE | {
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": counts,
    }


def test_every_answer_has_its_ids(claude):
    answers = [call(claude, "GET", BATCHES), call(claude, "GET", f"{BATCHES}/msgbatch_x")]
    for answer in answers:
        assert re.fullmatch(f"req_011{BASE58}{{21}}", answer.headers["request-id"])
        assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["anthropic-organization-id"])
        assert answer.headers["anthropic-workspace-id"] == claude.workspace_id
    assert answers[0].headers["request-id"] != answers[1].headers["request-id"]
    assert [answer.headers.get("x-should-retry") for answer in answers] == [None, "false"]


def test_an_error_bears_the_request_id_and_says_not_to_retry(claude):
    answer = call(claude, "GET", f"{BATCHES}/msgbatch_x")
    assert answer.status == 404
    assert answer.json == {
        "type": "error",
        "error": {"type": "not_found_error", "message": "Message Batch msgbatch_x not found."},
        "request_id": answer.headers["request-id"],
    }


def test_an_invalid_key_is_refused_without_naming_a_workspace(claude):
    answer = call(claude, "GET", BATCHES, x_api_key="sk-ant-api03-wrong", anthropic_version=None)
    assert answer.error == (401, "authentication_error", "API key is invalid.")
    assert "anthropic-workspace-id" not in answer.headers


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
def test_both_versions_and_both_forms_of_authentication(claude, version):
    bearer = {"authorization": f"Bearer {claude.api_key}", "x_api_key": None}
    assert call(claude, "GET", BATCHES, anthropic_version=version).status == 200
    assert call(claude, "GET", BATCHES, anthropic_version=version, **bearer).status == 200


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (None, "anthropic-version: header is required"),
        ("2024-01-01", 'anthropic-version: "2024-01-01" is not a valid version'),
    ],
)
def test_other_versions_are_refused(claude, version, message):
    assert call(claude, "GET", BATCHES, anthropic_version=version).error == (400, "invalid_request_error", message)


def test_the_version_can_be_left_out_where_the_emulator_is_told_so():
    with ClaudeEmulator(require_version=False) as claude:
        answer = call(claude, "POST", BATCHES, body=requests_of("a"), anthropic_version=None)
        assert (answer.status, claude.batches[0].anthropic_version) == (200, "2023-06-01")


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/", 404, "Not found"),
        ("GET", "/v1/messages", 404, "Not found"),
        ("DELETE", "/v1/models", 405, "Method Not Allowed"),
        ("GET", f"{BATCHES}/", 404, "Not found"),
        ("GET", f"{BATCHES}/msgbatch_x/lines", 404, "Not found"),
        ("DELETE", BATCHES, 405, "Method Not Allowed"),
        ("PUT", f"{BATCHES}/msgbatch_x", 405, "Method Not Allowed"),
        ("GET", f"{BATCHES}/msgbatch_x/cancel", 405, "Method Not Allowed"),
        ("POST", f"{BATCHES}/msgbatch_x/results", 405, "Method Not Allowed"),
        ("GET", f"{BATCHES}/a%2Fb", 404, "Message Batch a/b not found."),
    ],
)
def test_paths_and_methods(claude, method, path, status, message):
    answer = call(claude, method, path)
    assert (answer.status, answer.json["error"]["message"]) == (status, message)


def test_a_refused_create_leaves_no_batch(claude):
    answer = call(claude, "POST", BATCHES, body=requests_of("dup", "dup"))
    assert answer.error == (
        400,
        "invalid_request_error",
        "requests: custom_id's must be unique within a batch. Duplicate custom_id found: dup",
    )
    assert answer.headers["x-should-retry"] == "false"
    assert claude.batches == []


def test_limits_can_be_lowered():
    with ClaudeEmulator(max_requests=1, max_body_bytes=400) as claude:
        assert "at most 1 items" in call(claude, "POST", BATCHES, body=requests_of("a", "b")).error[2]
        too_large = call(claude, "POST", BATCHES, body=requests_of("a", system="x" * 400))
        assert too_large.error[:2] == (413, "request_too_large")
        assert call(claude, "POST", BATCHES, body=requests_of("a")).status == 200


def test_a_compressed_body_is_refused_with_its_code(claude):
    answer = call(claude, "POST", BATCHES, body=b"\x1f\x8b", content_encoding="gzip")
    assert answer.status == 400
    assert answer.json["error"]["details"] == {"error_code": "request_body_encoding_unsupported"}


def test_retrieve_hints_when_to_ask_again_until_the_batch_is_canceled_or_ended(claude):
    path = f"{BATCHES}/{create(claude)}"
    assert call(claude, "GET", path).headers["retry-after"] == "10"
    claude.finish()
    ended = call(claude, "GET", path)
    assert "retry-after" not in ended.headers
    assert ended.json["processing_status"] == "ended"
    assert ended.json["results_url"] == f"{claude.url}{path}/results"


@pytest.mark.parametrize("body", [None, {}], ids=["no body", "empty object"])
def test_cancel(claude, body):
    path = f"{BATCHES}/{create(claude)}"
    answers = [call(claude, "POST", f"{path}/cancel", body=body) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].json == answers[1].json == call(claude, "GET", path).json
    assert answers[0].json["processing_status"] == "canceling"
    assert answers[0].json["request_counts"]["processing"] == 1
    assert answers[0].json["cancel_initiated_at"] is not None


def test_cancel_of_an_ended_batch(claude):
    batch_id = create(claude)
    claude.finish()
    answer = call(claude, "POST", f"{BATCHES}/{batch_id}/cancel")
    assert (answer.status, answer.json["processing_status"]) == (200, "ended")
    assert answer.json["cancel_initiated_at"] is None


def test_delete(claude):
    path = f"{BATCHES}/{(batch_id := create(claude))}"
    assert call(claude, "DELETE", path).error[:2] == (400, "invalid_request_error")
    claude.finish()
    answer = call(claude, "DELETE", path)
    assert (answer.status, answer.json) == (200, {"id": batch_id, "type": "message_batch_deleted"})
    for gone in (call(claude, "GET", path), call(claude, "GET", f"{path}/results"), call(claude, "DELETE", path)):
        assert gone.error == (404, "not_found_error", f"Message Batch {batch_id} not found.")
    assert call(claude, "GET", BATCHES).json["data"] == []


def test_results(claude):
    path = f"{BATCHES}/{(batch_id := create(claude, 'a', 'b', 'c'))}/results"
    early = call(claude, "GET", path)
    assert early.error == (404, "not_found_error", f"Message Batch {batch_id} has no available results.")
    claude.finish()
    answer = call(claude, "GET", path)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-jsonl")
    assert answer.headers["transfer-encoding"] == "chunked"
    assert {custom_id: result["type"] for custom_id, result in answer.lines.items()} == dict.fromkeys(
        "abc", "succeeded"
    )
    assert call(claude, "GET", path).body == answer.body


def test_wrong_params_are_told_when_the_batch_ends(claude):
    requests = [
        {"custom_id": "model", "params": params(model="claude-does-not-exist-9")},
        {"custom_id": "messages", "params": params(messages=None)},
        {"custom_id": "good", "params": params()},
    ]
    created = call(claude, "POST", BATCHES, body={"requests": requests})
    assert created.status == 200
    claude.finish()
    path = f"{BATCHES}/{created.json['id']}"
    lines = call(claude, "GET", f"{path}/results").lines
    assert lines["good"]["type"] == "succeeded"
    assert lines["model"] == {
        "type": "errored",
        "error": {
            "type": "error",
            "error": {
                "details": {"error_visibility": "user_facing"},
                "type": "not_found_error",
                "message": "model: claude-does-not-exist-9",
            },
            "request_id": None,
        },
    }
    assert lines["messages"]["error"]["error"]["message"] == "messages: Field required"
    counts = call(claude, "GET", path).json["request_counts"]
    assert counts == {"processing": 0, "succeeded": 1, "errored": 2, "canceled": 0, "expired": 0}


def test_headers_of_create_reach_its_requests(claude):
    headers = {
        "anthropic_version": "2026-10-21",
        "anthropic_beta": "output-300k-2026-03-24, another",
        "anthropic_user_profile_id": "profile-1",
    }
    body = {
        "requests": [
            {"custom_id": "long", "params": params(model="claude-opus-5-5", max_tokens=300_000)},
            {"custom_id": "warm", "params": params(temperature=1)},
            {"custom_id": "profile", "params": params(user_profile_id="profile-2")},
        ]
    }
    batch_id = call(claude, "POST", BATCHES, body=body, **headers).json["id"]
    claude.finish()
    lines = call(claude, "GET", f"{BATCHES}/{batch_id}/results").lines
    assert {name: line["type"] for name, line in lines.items()} == {
        "long": "succeeded",
        "warm": "errored",
        "profile": "errored",
    }
    assert lines["warm"]["error"]["error"]["message"] == "temperature: Extra inputs are not permitted"
    assert claude.batches[0].betas == ("output-300k-2026-03-24", "another")


def test_listing(claude):
    ids = [create(claude) for _ in range(3)]
    whole = call(claude, "GET", BATCHES).json
    assert [batch["id"] for batch in whole["data"]] == ids[::-1]
    assert {key: whole[key] for key in ("has_more", "first_id", "last_id")} == {
        "has_more": False,
        "first_id": ids[2],
        "last_id": ids[0],
    }
    page = call(claude, "GET", f"{BATCHES}?limit=1&after_id={ids[2]}&beta=true").json
    assert ([batch["id"] for batch in page["data"]], page["has_more"]) == ([ids[1]], True)
    page = call(claude, "GET", f"{BATCHES}?limit=1&before_id={ids[0]}").json
    assert ([batch["id"] for batch in page["data"]], page["has_more"]) == ([ids[1]], True)


def test_an_empty_listing(claude):
    assert call(claude, "GET", BATCHES).json == {"data": [], "has_more": False, "first_id": None, "last_id": None}


def test_a_page_has_20_batches_unless_asked(claude):
    for _ in range(21):
        create(claude)
    page = call(claude, "GET", BATCHES).json
    assert (len(page["data"]), page["has_more"]) == (20, True)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "limit: Input should be greater than or equal to 1"),
        ("limit=1001", "limit: Input should be less than or equal to 1000"),
        ("limit=x", "limit: Input should be a valid integer, unable to parse string as an integer"),
        ("limit=", "limit: Input should be a valid integer, unable to parse string as an integer"),
        ("after_id=msgbatch_x", "after_id: Message Batch msgbatch_x not found."),
        ("before_id=", "before_id: Message Batch  not found."),
        ("after_id=a&before_id=b", "after_id: cannot be used together with before_id"),
    ],
)
def test_listing_refused(claude, query, message):
    assert call(claude, "GET", f"{BATCHES}?{query}").error == (400, "invalid_request_error", message)


def test_another_workspace_sees_nothing(claude):
    claude.add_key("sk-ant-api03-other", workspace_id="wrkspc_other")
    path = f"{BATCHES}/{(batch_id := create(claude))}"
    claude.finish()
    tries = [("GET", path), ("POST", f"{path}/cancel"), ("DELETE", path), ("GET", f"{path}/results")]
    for method, where in tries:
        answer = call(claude, method, where, x_api_key="sk-ant-api03-other")
        assert answer.error == (404, "not_found_error", f"Message Batch {batch_id} not found.")
        assert answer.headers["anthropic-workspace-id"] == "wrkspc_other"
    assert call(claude, "GET", BATCHES, x_api_key="sk-ant-api03-other").json["data"] == []
    assert call(claude, "GET", path).status == 200


def test_a_workspace_named_must_be_the_keys(claude):
    assert call(claude, "GET", BATCHES, anthropic_workspace_id=claude.workspace_id).status == 200
    assert call(claude, "GET", BATCHES, anthropic_workspace_id="wrkspc_x").error[:2] == (403, "permission_error")


def test_an_exception_of_replies_is_returned_to_calls_about_the_batch():
    def replies(params, custom_id):
        if params["max_tokens"] != 1:
            raise ZeroDivisionError("no answer to that")
        return "Hello"

    with ClaudeEmulator(seconds=0, replies=replies) as claude:
        path = f"{BATCHES}/{create(claude)}"
        answer = call(claude, "GET", path)
        other = f"{BATCHES}/{create(claude, max_tokens=1)}"
        message = "The emulator failed: ZeroDivisionError: no answer to that"
        assert answer.error == (500, "api_error", message)
        assert answer.headers["x-should-retry"] == "false"
        assert call(claude, "GET", other).json["processing_status"] == "ended"
        assert call(claude, "GET", f"{other}/results").lines["a"]["type"] == "succeeded"
        assert len(call(claude, "GET", BATCHES).json["data"]) == 2


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "claude.test:8788"])
def test_the_results_url_is_at_the_host_that_was_asked(claude, host):
    asked = host.format(port=claude.url.rpartition(":")[2])
    path = f"{BATCHES}/{create(claude)}"
    claude.finish()
    assert call(claude, "GET", path, host=asked).json["results_url"] == f"http://{asked}{path}/results"


def test_json_is_gzipped_where_that_is_asked_for(claude):
    path = f"{BATCHES}/{create(claude)}"
    plain = call(claude, "GET", path)
    zipped = call(claude, "GET", path, accept_encoding="gzip, deflate")
    assert (plain.headers.get("content-encoding"), zipped.headers["content-encoding"]) == (None, "gzip")
    assert plain.headers["vary"] == zipped.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(zipped.body) == plain.body
    claude.finish()
    results = call(claude, "GET", f"{path}/results", accept_encoding="gzip")
    assert results.lines["a"]["type"] == "succeeded"


def test_what_a_fault_cuts_is_not_gzipped(claude):
    claude.fault("cut_answer", on="list", after=5)
    with pytest.raises(http.client.IncompleteRead) as cut:
        call(claude, "GET", BATCHES, accept_encoding="gzip")
    assert cut.value.partial == b'{"dat'


def test_the_models_are_listed_and_found(claude):
    page = call(claude, "GET", "/v1/models?limit=2").json
    assert (page["has_more"], page["first_id"], page["last_id"]) == (True, page["data"][0]["id"], page["data"][1]["id"])
    rest = call(claude, "GET", f"/v1/models?limit=1000&after_id={page['last_id']}").json
    ids = [model["id"] for model in page["data"] + rest["data"]]
    assert len(ids) == len(set(ids)) == 19
    assert call(claude, "GET", "/v1/models?after_id=x").error == (
        400,
        "invalid_request_error",
        "after_id: Model x not found.",
    )
    found = call(claude, "GET", "/v1/models/claude-haiku-4-5").json
    assert (found["id"], found["display_name"]) == ("claude-haiku-4-5-20251001", "Claude Haiku 4.5")
    assert call(claude, "GET", "/v1/models/claude-x").error == (404, "not_found_error", "model: claude-x")


def test_tokens_are_counted_and_what_is_wrong_is_said_at_once(claude):
    asked = params(max_tokens=None)
    path = "/v1/messages/count_tokens"
    assert call(claude, "POST", path, body=asked).json == {"input_tokens": 10}
    assert (
        call(claude, "POST", path, body=asked | {"messages": []}).error[2]
        == "messages: at least one message is required"
    )
    assert call(claude, "POST", path, body=asked | {"model": "claude-x"}).error == (
        404,
        "not_found_error",
        "model: claude-x",
    )
    assert call(claude, "POST", path, body=b"{").error[0] == 400
    assert call(claude, "POST", path, body=[]).error[0] == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"speed": "fast"},
        {"model": "claude-sonnet-4-5", "thinking": {"type": "enabled", "budget_tokens": 100_000}},
    ],
    ids=str,
)
def test_tokens_are_counted_of_what_is_refused_in_a_batch_or_beside_max_tokens(claude, changes):
    assert call(claude, "POST", "/v1/messages/count_tokens", body=params(max_tokens=None, **changes)).status == 200


def test_text_that_is_not_ascii_is_unchanged(claude):
    text = "héllo 日本 \U0001f600"
    messages = [{"role": "user", "content": text}]
    body = {"requests": [{"custom_id": "a", "params": params(messages=messages)}]}
    call(claude, "POST", BATCHES, body=json.dumps(body, ensure_ascii=False).encode())
    claude.finish()
    answer = call(claude, "GET", f"{BATCHES}/{claude.batches[0].id}/results")
    assert answer.lines["a"]["message"]["content"] == [{"type": "text", "text": text}]
