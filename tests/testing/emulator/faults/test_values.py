"""Faults within one line: the other lines are unchanged."""

from __future__ import annotations

import json
import math

import pytest

from django_claude_batches.testing import ClaudeEmulator, Failure, scripted
from tests.testing.caller import BATCHES, call, create


@pytest.fixture
def odd(claude, download):
    """Return the bytes of the first line with the fault; the three others must be unchanged."""
    honest = download().body.splitlines(keepends=True)

    def spoil(name, **options):
        claude.fault(name, **options)
        lines = download().body.split(b"\n")[:-1]
        assert [line + b"\n" for line in lines[1:]] == honest[1:]
        assert lines[0] + b"\n" != honest[0]
        assert claude.downloads[-1].lines[0].raw == lines[0] + b"\n"
        return lines[0]

    return spoil


@pytest.mark.parametrize("size", [8_000_000, 40_000])
def test_huge_line(odd, size):
    line = odd("huge_line", size=size)
    assert len(line) + 1 == size
    assert json.loads(line)["result"]["type"] == "succeeded"


def test_unknown_result_type(claude, odd):
    assert json.loads(odd("unknown_result_type"))["result"] == {"type": "postponed"}
    assert claude.downloads[-1].lines[0].type == "postponed"


def test_unknown_stop_reason(odd):
    assert json.loads(odd("unknown_stop_reason"))["result"]["message"]["stop_reason"] == "tired"


def test_unknown_block(odd):
    blocks = json.loads(odd("unknown_block"))["result"]["message"]["content"]
    assert [block["type"] for block in blocks] == ["hologram", "text"]


def test_unknown_usage_key(odd):
    usage = json.loads(odd("unknown_usage_key"))["result"]["message"]["usage"]
    assert (usage["novel_input_tokens"], usage["input_tokens"] > 0) == (7, True)


@pytest.mark.parametrize(
    ("name", "text"),
    [("nul", "a\0b"), ("lone_surrogate", "a\ud800b"), ("four_byte_characters", "\U0001f600\U00020000")],
)
@pytest.mark.parametrize("where", ["text", "value", "key"])
def test_odd_texts(odd, name, text, where):
    message = json.loads(odd(name, where=where))["result"]["message"]
    found = {"text": message["content"][-1].get("text"), "value": message.get("odd"), "key": message.get("odd")}
    assert found[where] == (text if where != "key" else {text: 1})


def test_four_byte_characters_are_sent_as_they_are(odd):
    assert "\U0001f600".encode() in odd("four_byte_characters")


def test_nan(odd):
    assert math.isnan(json.loads(odd("nan"))["result"]["message"]["odd"])


def test_infinity(odd):
    line = odd("infinity")
    assert b'"odd":1e999' in line
    assert math.isinf(json.loads(line)["result"]["message"]["odd"])


def test_long_integer(odd):
    with pytest.raises(ValueError, match="Exceeds the limit"):
        json.loads(odd("long_integer"))


def test_deep_nesting(odd):
    assert b'"odd":' + b"[" * 5000 + b"]" * 5000 in odd("deep_nesting")


def test_repeated_key(odd):
    line = odd("repeated_key")
    assert b'"odd":1,"odd":2' in line
    assert json.loads(line)["result"]["message"]["odd"] == 2


def test_the_line_is_a_succeeded_one():
    replies = scripted({"a": Failure(), "b": Failure()})
    with ClaudeEmulator(replies=replies) as claude:
        batch_id = create(claude, "a", "b", "c", "d")
        claude.finish()
        claude.fault("unknown_stop_reason", line=2)
        lines = list(call(claude, "GET", f"{BATCHES}/{batch_id}/results").lines.values())
    stopped = [line["message"]["stop_reason"] for line in lines if line["type"] == "succeeded"]
    assert stopped == ["end_turn", "tired"]


def test_an_unknown_where_is_refused(claude, download):
    claude.fault("nul", where="nowhere")
    assert "where is 'nowhere'" in download().json["error"]["message"]
