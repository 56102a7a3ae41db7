"""Compare the emulator's answers, key by key, with recordings of the API. Facts of public recordings, not their files.

`BATCH` and `MESSAGE`: crmne/ruby_llm, `spec/fixtures/vcr_cassettes/activerecord_actsas_batch_staging_and_collection_…`
(2026-06-12, the whole life of a batch). That `BATCH` has these keys in this order was seen in all of 148 objects of 20
cassettes of 2025 and 2026 (docs/reference/wire.md §3.1). `ERROR`: OpenRouter's capture of 2026-09 (§3.5).
"""

from __future__ import annotations

import json

import pytest

from django_claude_batches.testing import ClaudeEmulator
from tests.testing.caller import BATCHES, call, params

NUMBER, TEXT, NULL = 0, "", None

COUNTS = {"processing": NUMBER, "succeeded": NUMBER, "errored": NUMBER, "canceled": NUMBER, "expired": NUMBER}
BATCH = {
    "id": TEXT,
    "type": TEXT,
    "processing_status": TEXT,
    "request_counts": COUNTS,
    "ended_at": NULL,
    "created_at": TEXT,
    "expires_at": TEXT,
    "archived_at": NULL,
    "cancel_initiated_at": NULL,
    "results_url": NULL,
}
ENDED = BATCH | {"ended_at": TEXT, "results_url": TEXT}
MESSAGE = {
    "model": TEXT,
    "id": TEXT,
    "type": TEXT,
    "role": TEXT,
    "content": [{"type": TEXT, "text": TEXT}],
    "stop_reason": TEXT,
    "stop_sequence": NULL,
    "stop_details": NULL,
    "usage": {
        "input_tokens": NUMBER,
        "cache_creation_input_tokens": NUMBER,
        "cache_read_input_tokens": NUMBER,
        "cache_creation": {"ephemeral_5m_input_tokens": NUMBER, "ephemeral_1h_input_tokens": NUMBER},
        "output_tokens": NUMBER,
        "service_tier": TEXT,
        "inference_geo": TEXT,
    },
}
SINCE_SEPTEMBER = {"container": NULL, "diagnostics": NULL}
SUCCEEDED = {"custom_id": TEXT, "result": {"type": TEXT, "message": MESSAGE | SINCE_SEPTEMBER}}
ERROR = {
    "type": TEXT,
    "error": {"details": {"error_visibility": TEXT}, "type": TEXT, "message": TEXT},
    "request_id": NULL,
}
ERRORED = {"custom_id": TEXT, "result": {"type": TEXT, "error": ERROR}}


def shape(value):
    """Return the value with empty texts and zero numbers; keys keep their order."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return None if value is None else type(value)()


def assert_alike(value, recorded):
    # Compared as texts, because dictionaries are equal in any order.
    assert json.dumps(shape(value), indent=1) == json.dumps(recorded, indent=1)


@pytest.fixture
def claude(claude_emulator):
    return claude_emulator


def created(claude):
    requests = [{"custom_id": "0", "params": params()}, {"custom_id": "1", "params": params(max_tokens=0)}]
    return call(claude, "POST", BATCHES, body={"requests": requests})


def test_a_batch_all_its_life(claude):
    answer = created(claude)
    assert_alike(answer.json, BATCH)
    path = f"{BATCHES}/{answer.json['id']}"
    running = call(claude, "GET", path)
    assert running.json == answer.json
    assert running.headers["retry-after"] == "10"
    claude.finish()
    ended = call(claude, "GET", path)
    assert_alike(ended.json, ENDED)
    assert "retry-after" not in ended.headers
    assert_alike(call(claude, "GET", BATCHES).json["data"][0], ENDED)


def test_a_page_and_a_deletion(claude):
    batch_id = created(claude).json["id"]
    page = call(claude, "GET", BATCHES).json
    assert list(page) == ["data", "has_more", "first_id", "last_id"]
    claude.finish()
    deleted = call(claude, "DELETE", f"{BATCHES}/{batch_id}").json
    assert deleted == {"id": batch_id, "type": "message_batch_deleted"}


def test_result_lines_and_their_headers(claude):
    batch_id = created(claude).json["id"]
    claude.finish()
    answer = call(claude, "GET", f"{BATCHES}/{batch_id}/results")
    by_id = {line["custom_id"]: line for line in map(json.loads, answer.body.splitlines())}
    assert_alike(by_id["0"], SUCCEEDED)
    assert_alike(by_id["1"], ERRORED)
    assert answer.headers["content-disposition"] == f"attachment; filename*=utf-8''{batch_id}_results.jsonl"


def test_the_401_of_2026(claude):
    answer = call(claude, "GET", BATCHES, x_api_key="sk-ant-api03-wrong")
    error = {"type": "authentication_error", "message": "API key is invalid."}
    assert answer.json == {"type": "error", "error": error, "request_id": None}
    assert answer.headers["request-id"].startswith("req_011")
    assert not {"anthropic-organization-id", "anthropic-workspace-id"} & answer.headers.keys()


def test_fault_answers_name_the_keys_organization_and_workspace():
    with ClaudeEmulator() as claude:
        plain = call(claude, "GET", BATCHES)
        claude.fault("overloaded", on="list")
        faulty = call(claude, "GET", BATCHES)
    names = ("anthropic-organization-id", "anthropic-workspace-id")
    assert [faulty.headers[name] for name in names] == [plain.headers[name] for name in names]
