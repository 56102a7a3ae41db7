"""Most messages are read by the fast path, by the template of an earlier one: the rows are those of the slow path."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from django_claude_batches.client import Line
from django_claude_batches.models import ResultProblem
from django_claude_batches.models.bulk_rows import ResultRow
from django_claude_batches.services.ingestion.fast_path import FIRST_PLACEHOLDER, MessageTemplates, match_start
from django_claude_batches.services.ingestion.result_lines import read

NUMBERS = [
    "0",
    "7",
    "12",
    "-1",
    "-0",
    "007",
    "1.5",
    "1e3",
    "9" * 12,
    "1" + "0" * 12,
    "9" * 25,
    str(FIRST_PLACEHOLDER + 1),
]
TEXTS = [
    '"msg_01"',
    '"claude-haiku-4-5"',
    '""',
    r'"\":5,"',
    r'"a\":5,\"b"',
    '"x:5,"',
    r'"\\"',
    r'"\\\\\""',
    r'"\u0000"',
]
TEXTS += [r'"\ud83d\ude00"', '"\x01"', '"\t"', '"end_turn"', r'"\q"', r'"a\\":5,"']
OTHERS = [
    "null",
    "true",
    "[5,7]",
    "{}",
    '{"input_tokens":3,"id":4}',
    '[{"type":"text","text":"say \\"hi\\""}]',
    "[",
    '"',
]
KEYS = ["id", "model", "stop_reason", "text", "thinking", "signature", "content", "usage", "x", "", r"a\"id", "x-"]
USED = ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "service_tier", "id"]
LIFETIMES = ["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens", "ephemeral_24h_input_tokens"]

values = st.sampled_from(NUMBERS) | st.sampled_from(TEXTS) | st.sampled_from(OTHERS)
colons = st.sampled_from([":", ":", ": ", " :", ":  "])


def objects(keys: list[str], inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.tuples(st.sampled_from(keys), colons, inner).map(lambda found: f'"{found[0]}"{found[1]}{found[2]}')
    return st.lists(member, max_size=7).map(lambda members: "{" + ",".join(members) + "}")


usages = st.tuples(objects(USED, values), objects(LIFETIMES, st.sampled_from(NUMBERS))).map(
    lambda found: found[0][:-1] + ("," if len(found[0]) > 2 else "") + f'"cache_creation":{found[1]}' + "}"
)
usages = usages | objects(USED, values)
usage = st.tuples(colons, usages).map(lambda found: f'"usage"{found[0]}{found[1]}')
messages = st.tuples(objects(KEYS, values | usages), usage).map(
    lambda found: found[0][:-1] + ("," if len(found[0]) > 2 else "") + found[1] + "}"
)


def line(message: str) -> Line:
    return Line(1, 0, b'{"custom_id":"x","result":{"type":"succeeded","message":%b}}' % message.encode(), False)


def columns(found: ResultRow | ResultProblem) -> Any:
    if isinstance(found, ResultProblem):
        return found.reason
    text = found.message
    message = json.loads(bytes(text) if isinstance(text, memoryview) else text or "null")
    return {**asdict(replace(found, message=None)), "message": message}


@pytest.mark.slow
@given(st.lists(messages, min_size=1, max_size=5))
@example(['{"usage":{"input_tokens":1}}', '{"usage":{"input_tokens":2}}'])
@example([f'{{"usage":{{"input_tokens": {FIRST_PLACEHOLDER}}}}}', '{"usage":{"input_tokens":5,"x":5}}'])
@example(['{"id":"a","usage":{"id":3}}', '{"id":3,"usage":{"id":"a"}}'])
@example(['{"model":"a\\":5,","usage":{}}', '{"model":"a\\":6,","usage":{}}'])
def test_the_fast_path_reads_what_the_slow_path_reads(texts: list[str]) -> None:
    templates = MessageTemplates()
    for text in [*texts, *texts]:
        fast = read(line(text), match_start(line(text).data), templates)
        assert columns(fast) == columns(read(line(text), None, MessageTemplates()))


def usual(tokens: int, **usage: Any) -> str:
    content = [{"type": "text", "text": f'He said "{tokens}" \\ {tokens}'}]
    counts = {"input_tokens": tokens, "output_tokens": 2 * tokens, **usage}
    return json.dumps({"id": f"msg_{tokens}", "model": "claude-opus-5", "content": content, "usage": counts})


def test_messages_of_one_shape_make_one_template() -> None:
    templates = MessageTemplates()
    for tokens in range(1, 100):
        row = read(line(usual(tokens)), match_start(line(usual(tokens)).data), templates)
        assert isinstance(row, ResultRow)
        assert (row.input_tokens, row.output_tokens, row.model) == (tokens, 2 * tokens, "claude-opus-5")
    assert len(templates) == 1


def test_templates_are_kept_up_to_a_number() -> None:
    templates = MessageTemplates()
    for tokens in range(400):
        text = usual(tokens, service_tier=f"tier {tokens}")
        row = read(line(text), match_start(line(text).data), templates)
        assert isinstance(row, ResultRow)
        assert (row.input_tokens, row.service_tier) == (tokens, f"tier {tokens}")
    assert len(templates) == 256


@pytest.mark.parametrize("number", [FIRST_PLACEHOLDER - 1, FIRST_PLACEHOLDER, 10**13])
def test_counts_that_are_too_long_for_a_template_are_read_all_the_same(number: int) -> None:
    templates = MessageTemplates()
    for tokens in (5, number):
        row = read(line(usual(tokens)), match_start(line(usual(tokens)).data), templates)
        assert isinstance(row, ResultRow)
        assert row.input_tokens == tokens


@pytest.mark.parametrize(
    "usage",
    [
        '{"cache_creation_input_tokens":%d,"cache_creation":{"ephemeral_5m_input_tokens":0}}',
        '{"cache_creation":{"ephemeral_24h_input_tokens":%d}}',
        '{"output_tokens":0,"output_tokens_details":{"thinking_tokens":%d}}',
        '{"iterations":[{"type":"compaction","input_tokens":%d,"output_tokens":0}],"input_tokens":0}',
        '{"iterations":[{"type":"message","input_tokens":%d,"output_tokens":0}],"input_tokens":0}',
    ],
)
def test_what_contradicts_itself_is_not_read_by_the_template_of_what_does_not(usage: str) -> None:
    templates = MessageTemplates()
    found = []
    for number in (0, 7):
        text = line('{"usage":' + usage % number + "}")
        assert columns(read(text, match_start(text.data), templates)) == columns(read(text, None, MessageTemplates()))
        found.append(columns(read(text, match_start(text.data), templates))["prompts"])
    assert found[0] != 0
    assert found[1] != 1
