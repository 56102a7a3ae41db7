"""Result lines, key for key, as in docs/reference/wire.md §3.5."""

from __future__ import annotations

import json
from random import Random

import pytest

from django_claude_batches.testing import Failure, Reply, thinking
from django_claude_batches.testing.emulator.identifiers import Identifiers
from django_claude_batches.testing.emulator.lines import line_for, unprocessed_line
from tests.testing.caller import params


def result(outcome, **changes):
    request = {"custom_id": "a", "params": params(**changes)}
    line = line_for(request, outcome, Identifiers(Random(1)))
    assert line.raw.endswith(b"\n")
    assert line.raw.count(b"\n") == 1
    document = json.loads(line.raw)
    assert (document["custom_id"], document["result"]["type"]) == ("a", line.type)
    return document["result"]


def test_succeeded():
    message = result(Reply("Hello, you."))["message"]
    assert message.pop("id").startswith("msg_01")
    assert message == {
        "model": "claude-haiku-4-5-20251001",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "Hello, you."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 2,
            "service_tier": "batch",
            "inference_geo": "not_available",
        },
        "container": None,
        "diagnostics": None,
    }


@pytest.mark.parametrize("while_running", [False, True])
def test_errored(while_running):
    error = result(Failure("not_found_error", "model: x", while_running=while_running))["error"]
    request_id = error.pop("request_id")
    assert request_id.startswith("workerreq_") if while_running else request_id is None
    assert error == {
        "type": "error",
        "error": {
            "details": {"error_visibility": "user_facing"},
            "type": "not_found_error",
            "message": "model: x",
        },
    }


def test_details_can_be_null_as_recorded():
    failure = Failure("invalid_request_error", "Could not process image", while_running=True, details=None)
    assert result(failure)["error"]["error"]["details"] is None


@pytest.mark.parametrize("type_", ["canceled", "expired"])
def test_unprocessed(type_):
    line = unprocessed_line("a", type_)
    assert line.raw == b'{"custom_id":"a","result":{"type":"%b"}}\n' % type_.encode()


def test_text_is_utf_8_and_separators_that_are_not_newlines_stay_in_it():
    text = "é 日本 \u2028 \x85 \x00"
    line = line_for({"custom_id": "a", "params": params()}, Reply(text), Identifiers(Random(1)))
    assert "é 日本 \u2028 \x85 \\u0000".encode() in line.raw


def test_a_lone_surrogate_is_escaped():
    assert result(Reply("\ud800"))["message"]["content"][0]["text"] == "\ud800"


def test_keys_of_ones_own_are_laid_over_usage_and_message():
    usage = {"cache_read_input_tokens": 900, "brand_new": 1}
    message = result(Reply("x", usage=usage, extra={"container": {"id": "c"}, "model": "claude-next"}))["message"]
    assert (message["usage"]["cache_read_input_tokens"], message["usage"]["brand_new"]) == (900, 1)
    assert (message["container"], message["model"], message["usage"]["service_tier"]) == (
        {"id": "c"},
        "claude-next",
        "batch",
    )


def test_a_refusal_bears_its_details():
    details = {"type": "refusal", "category": None, "explanation": None}
    message = result(Reply(content=[], stop_reason="refusal", stop_details=details))["message"]
    assert (message["content"], message["stop_details"], message["usage"]["output_tokens"]) == ([], details, 0)


def test_thoughts_are_counted_within_the_output():
    reply = thinking(thought="x" * 40, replies=lambda params, custom_id: "y" * 40)(params(), "a", index=0)
    usage = result(reply)["message"]["usage"]
    assert (usage["output_tokens"], usage["output_tokens_details"]) == (20, {"thinking_tokens": 10})


def test_a_tool_use_gets_an_id_unless_it_has_one():
    blocks = [
        {"type": "tool_use", "name": "n", "input": {}},
        {"type": "tool_use", "id": "mine", "name": "n", "input": {}},
    ]
    made, given = result(Reply(content=blocks, stop_reason="tool_use"))["message"]["content"]
    assert made["id"].startswith("toolu_01")
    assert given["id"] == "mine"


def test_usage_grows_with_what_was_asked():
    short = result(Reply("x"))["message"]["usage"]["input_tokens"]
    long = result(Reply("x"), system="s" * 4000, tools=[{"name": "t" * 4000}])["message"]["usage"]["input_tokens"]
    assert 2000 <= long - short < 2100


def test_the_geography_asked_for_is_the_one_used():
    assert result(Reply("x"), inference_geo="us")["message"]["usage"]["inference_geo"] == "us"
