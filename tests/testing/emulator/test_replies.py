"""Replies, called as for a batch."""

from __future__ import annotations

import json

import pytest

from django_claude_batches.testing import (
    ClaudeEmulator,
    Failure,
    Reply,
    always,
    echo,
    failing,
    refusing,
    schema_shaped,
    scripted,
    thinking,
    truncated,
    using_tool,
)
from django_claude_batches.testing.emulator.replies import ask, with_keywords
from tests.testing.caller import BATCHES, call, params, requests_of

SCHEMA = {"type": "object", "properties": {"tag": {"enum": ["good", "bad"]}}, "required": ["tag"]}
AS_JSON = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}


TOOLS = [{"name": "first", "input_schema": {"type": "object"}}, {"name": "second", "input_schema": SCHEMA}]


def answer(replies, custom_id="a", *, index=0, wire_id=None, **changes):
    about = {"index": index, "wire_id": wire_id or custom_id}
    return ask(with_keywords(replies), params(**changes), custom_id, **about)


def test_echo_answers_with_the_last_user_text():
    messages = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "between"},
        {
            "role": "user",
            "content": [{"type": "image"}, {"type": "text", "text": "one"}, {"type": "text", "text": "two"}],
        },
        {"role": "assistant", "content": "prefilled"},
    ]
    assert answer(echo(), messages=messages).text == "one\ntwo"


def test_echo_is_cut_to_its_limit_and_to_max_tokens():
    messages = [{"role": "user", "content": "x" * 1000}]
    assert len(answer(echo(), messages=messages).text) == 200
    assert len(answer(echo(limit=50), messages=messages).text) == 50
    assert len(answer(echo(), messages=messages, max_tokens=3).text) == 12


@pytest.mark.parametrize("replies", [echo(), schema_shaped()], ids=["echo", "schema_shaped"])
def test_json_is_answered_where_it_is_asked_for(replies):
    assert json.loads(answer(replies, **AS_JSON).text) == {"tag": "good"}
    assert answer(replies).text == "Hello"


def test_a_forced_tool_is_used_with_words_of_the_prompt():
    tools = [{"name": "tag", "input_schema": {"type": "object", "properties": {"tag": {"type": "string"}}}}, TOOLS[1]]
    reply = answer(echo(), tools=tools, tool_choice={"type": "any"})
    assert reply.blocks == [{"type": "tool_use", "name": "tag", "input": {"tag": "Hello"}}]
    assert reply.stop_reason == "tool_use"
    reply = answer(echo(), tools=tools, tool_choice={"type": "tool", "name": "second"})
    assert reply.blocks == [{"type": "tool_use", "name": "second", "input": {"tag": "good"}}]
    assert answer(echo(), tools=tools, tool_choice={"type": "auto"}).text == "Hello"


def test_a_forced_tool_of_the_servers_is_used_without_input():
    reply = answer(echo(), tools=[{"type": "bash_20250124", "name": "bash"}], tool_choice={"type": "any"})
    assert reply.blocks == [{"type": "tool_use", "name": "bash", "input": {}}]


def test_scripted_looks_at_the_custom_id_then_at_the_one_of_the_wire_then_at_the_place():
    replies = scripted({"abcdefghijklm_a": "wire", "b_1": "own", 2: "place"}, otherwise=lambda params, custom_id: "?")
    assert answer(replies, "a", wire_id="abcdefghijklm_a").text == "wire"
    assert answer(replies, "b_1", wire_id="abcdefghijklm_b_1").text == "own"
    assert answer(replies, "c", index=2).text == "place"
    assert answer(replies, "c", index=3).text == "?"


def test_an_answer_may_be_json():
    assert answer(scripted({"a": {"tags": ["wärmt"]}})).text == '{"tags": ["wärmt"]}'
    assert answer(scripted({0: [1, None]}), index=0).text == "[1, null]"


def test_always_the_same():
    assert {answer(always("yes"), custom_id).text for custom_id in ("a", "b")} == {"yes"}


@pytest.mark.slow
def test_a_failing_share_is_about_that_share_and_always_the_same():
    def failed(seed, tag):
        replies = failing(0.1, seed=seed)
        return {n for n in range(2000) if isinstance(answer(replies, f"{n}", wire_id=f"{tag}_{n}"), Failure)}

    assert 150 < len(failed(0, "tag")) < 250
    assert failed(0, "tag") == failed(0, "another")
    assert failed(0, "tag") != failed(1, "tag")


@pytest.mark.parametrize(("share", "kind"), [(0, Reply), (1, Failure)])
def test_none_and_all_can_fail(share, kind):
    assert {type(answer(failing(share), str(n))) for n in range(100)} == {kind}


def test_a_failure_can_be_chosen():
    overloaded = Failure("overloaded_error", "Overloaded", while_running=True)
    assert answer(failing(1, failure=overloaded)) == overloaded


def test_truncated_stops_at_max_tokens():
    reply = answer(truncated(replies=lambda params, custom_id: "x" * 100), max_tokens=5)
    assert (reply.blocks[0]["text"], reply.stop_reason, reply.usage["output_tokens"]) == ("x" * 20, "max_tokens", 5)


def test_refusing():
    reply = answer(refusing(category="bio", explanation="No."))
    assert (reply.blocks, reply.stop_reason) == ([], "refusal")
    assert reply.stop_details == {"type": "refusal", "category": "bio", "explanation": "No."}


def test_thinking_comes_before_the_content_of_any_other_reply():
    reply = answer(thinking(thought="Hm.", replies=truncated()))
    assert [block["type"] for block in reply.blocks] == ["thinking", "text"]
    assert (reply.blocks[0]["thinking"], reply.stop_reason) == ("Hm.", "max_tokens")


def test_a_failure_passes_through_what_is_put_around_it():
    assert isinstance(answer(thinking(replies=truncated(replies=failing(1)))), Failure)


@pytest.mark.parametrize(
    ("replies", "name", "arguments"),
    [
        (using_tool(), "first", {}),
        (using_tool("second"), "second", {"tag": "good"}),
        (using_tool("second", arguments={"tag": "bad"}), "second", {"tag": "bad"}),
        (using_tool("unknown"), "unknown", {}),
    ],
)
def test_using_a_tool(replies, name, arguments):
    reply = answer(replies, tools=TOOLS)
    assert reply.stop_reason == "tool_use"
    assert reply.blocks == [{"type": "tool_use", "name": name, "input": arguments}]


def test_replies_can_be_called_without_keywords():
    replies = scripted({"a": "own"}, otherwise=echo())
    assert replies(params(), "a") == "own"
    assert replies(params(), "b").text == "Hello"


def test_an_answer_of_another_kind_is_an_error_that_names_the_request():
    with pytest.raises(TypeError, match="None for a-1: expected text, JSON, a Reply or a Failure"):
        answer(lambda params, custom_id: None, "a-1")


TAG = "abcdefghij2az_"
OURS = "django-claude-batches/1.0"


def sent(claude, *wire_ids, user_agent=OURS):
    """Create a batch as the app's client does, or another."""
    return call(claude, "POST", BATCHES, body=requests_of(*wire_ids), User_Agent=user_agent).json["id"]


@pytest.mark.parametrize(
    ("wire_ids", "custom_ids"),
    [
        ([f"{TAG}1", f"{TAG}b_2"], ["1", "b_2"]),
        ([f"{TAG}1", "2"], [f"{TAG}1", "2"]),
        ([f"{TAG}1", f"x{TAG[1:]}2"], [f"{TAG}1", f"x{TAG[1:]}2"]),
        (["short_1", "short_2"], ["short_1", "short_2"]),
        (["ABCDEFGHIJKLM_1"], ["ABCDEFGHIJKLM_1"]),
    ],
)
def test_replies_get_custom_ids_without_the_tag_if_the_whole_batch_has_one(wire_ids, custom_ids):
    asked = {}

    def replies(params, custom_id, wire_id):
        asked[wire_id] = custom_id
        return ""

    with ClaudeEmulator(replies=replies) as claude:
        sent(claude, *wire_ids)
        claude.finish()
    assert asked == dict(zip(wire_ids, custom_ids, strict=True))


@pytest.mark.parametrize("user_agent", ["Anthropic/Python 2.14.0", None], ids=str)
def test_replies_are_given_another_clients_custom_ids_as_they_are(user_agent):
    asked = []
    with ClaudeEmulator(replies=lambda params, custom_id: asked.append(custom_id) or "") as claude:
        sent(claude, "summarization_1", "summarization_2", user_agent=user_agent)
        claude.finish()
    assert asked == ["summarization_1", "summarization_2"]


@pytest.mark.parametrize(
    ("user_agent", "custom_ids"), [(OURS, ["1", "2"]), ("Anthropic/Python 2.14.0", [f"{TAG}1", f"{TAG}2"])]
)
def test_whose_custom_ids_they_are_is_known_after_a_restart(tmp_path, user_agent, custom_ids):
    asked = []
    state = tmp_path / "emulator.jsonl"
    with ClaudeEmulator(state=state) as claude:
        sent(claude, f"{TAG}1", f"{TAG}2", user_agent=user_agent)
    with ClaudeEmulator(state=state, replies=lambda params, custom_id: asked.append(custom_id) or "") as claude:
        claude.finish()
    assert asked == custom_ids


def test_in_an_older_state_file_a_tag_is_the_apps(tmp_path):
    asked = []
    state = tmp_path / "emulator.jsonl"
    with ClaudeEmulator(state=state) as claude:
        sent(claude, f"{TAG}1")
    written = state.read_text()
    state.write_text(written.replace(f',"tag_length":{len(TAG)}', ""))
    assert state.read_text() != written
    with ClaudeEmulator(state=state, replies=lambda params, custom_id: asked.append(custom_id) or "") as claude:
        claude.finish()
    assert asked == ["1"]


@pytest.mark.parametrize(
    ("replies", "text"),
    [
        (lambda params, custom_id: custom_id, "1"),
        (lambda params, custom_id, index: f"{custom_id} {index}", "1 0"),
        (lambda params, custom_id, *, wire_id, index: f"{wire_id} {index}", f"{TAG}1 0"),
        (lambda params, custom_id, **about: f"{sorted(about)}", "['index', 'wire_id']"),
        (scripted({"1": "own"}), "own"),
        (scripted({f"{TAG}1": "of the wire"}), "of the wire"),
    ],
)
def test_replies_get_only_the_keywords_that_they_accept(replies, text):
    with ClaudeEmulator(replies=replies) as claude:
        path = f"{BATCHES}/{sent(claude, f'{TAG}1')}/results"
        claude.finish()
        [line] = call(claude, "GET", path).lines.values()
    assert line["message"]["content"][0]["text"] == text
