"""What each model refuses and others accept (docs/reference/wire.md §2.3), over HTTP and by the table."""

from __future__ import annotations

import pytest

from django_claude_batches.testing import ClaudeEmulator
from django_claude_batches.testing.emulator.validation.models import MODELS, refused_by
from django_claude_batches.testing.emulator.validation.params import Terms, judge
from tests.testing.caller import BATCHES, call, params

TOOLS = [{"name": "tag", "input_schema": {"type": "object"}}]
USER = {"role": "user", "content": "Hello"}
ENABLED = (
    '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort" '
    "to control thinking behavior."
)
FORCED = 'tool_choice: type "tool" and "any" are not supported for this model.'

CHANGES = {
    "temperature": ({"temperature": 1}, "`temperature` is deprecated for this model."),
    "top_p": ({"top_p": 0.9}, "`top_p` is deprecated for this model."),
    "top_k": ({"top_k": 5}, "`top_k` is deprecated for this model."),
    "any": ({"tools": TOOLS, "tool_choice": {"type": "any"}}, FORCED),
    "tool": ({"tools": TOOLS, "tool_choice": {"type": "tool", "name": "tag"}}, FORCED),
    "enabled": ({"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2048}, ENABLED),
    "disabled": ({"thinking": {"type": "disabled"}}, '"thinking.type.disabled" is not supported for this model.'),
    "prefill": (
        {"messages": [USER, {"role": "assistant", "content": "It"}]},
        "This model does not support assistant message prefill. The conversation must end with a user message.",
    ),
}
SAMPLING = {"temperature", "top_p", "top_k"}
FABLE = SAMPLING | {"any", "tool", "enabled", "disabled"}
REFUSED = {
    "fable-5-2": FABLE,
    "fable-5-1": FABLE,
    "fable-5": FABLE,
    "mythos-5-2": FABLE,
    "mythos-5-1": FABLE,
    "mythos-5": FABLE,
    "mythos-preview": FABLE,
    "opus-5-5": FABLE | {"prefill"},
    "opus-5": SAMPLING | {"enabled", "prefill"},
    "opus-4-8": SAMPLING | {"enabled", "prefill"},
    "opus-4-7": SAMPLING | {"enabled", "prefill"},
    "opus-4-6": {"prefill"},
    "opus-4-5": set(),
    "sonnet-5-5": SAMPLING | {"enabled", "prefill"},
    "sonnet-5": SAMPLING | {"enabled", "prefill"},
    "sonnet-4-6": {"prefill"},
    "sonnet-4-5": set(),
    "haiku-5-5": SAMPLING,
    "haiku-4-5": set(),
}


def test_every_model_is_in_this_table():
    assert {f"claude-{name}" for name in REFUSED} == {name for name in MODELS if not name[-8:].isdigit()}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_model_refuses_is_an_errored_line_with_its_text_and_all_else_succeeds(name):
    requests = [
        {"custom_id": key, "params": params(model=f"claude-{name}") | change} for key, (change, _) in CHANGES.items()
    ]
    with ClaudeEmulator() as claude:
        batch_id = call(claude, "POST", BATCHES, body={"requests": requests}).json["id"]
        claude.finish()
        lines = call(claude, "GET", f"{BATCHES}/{batch_id}/results").lines
    refused = {key: line["error"]["error"] for key, line in lines.items() if line["type"] == "errored"}
    assert refused.keys() == REFUSED[name]
    assert {error["type"] for error in refused.values()} <= {"invalid_request_error"}
    texts = {key: text for key, (_, text) in CHANGES.items()}
    if name == "fable-5":
        texts |= dict.fromkeys(["any", "tool"], "tool_choice forces tool use is not compatible with this model")
    assert {key: error["message"] for key, error in refused.items()} == {key: texts[key] for key in refused}


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": None, "tool_choice": None, "thinking": None},
        {"tools": TOOLS, "tool_choice": {"type": "auto"}},
        {"tools": TOOLS, "tool_choice": {"type": "none"}},
        {"thinking": {"type": "adaptive"}},
        {"messages": [USER, {"role": "assistant", "content": "It"}, USER]},
    ],
)
def test_what_every_model_takes(changes):
    for model in MODELS:
        assert refused_by(model, params() | changes) is None


def test_a_paused_turn_is_no_prefill():
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
    messages = [USER, {"role": "assistant", "content": [search]}]
    assert judge(params(model="claude-opus-5-5", messages=messages), Terms("2026-10-21")) is None


def test_the_version_is_checked_before_the_model():
    failure = judge(params(model="claude-opus-5-5", temperature=1), Terms("2026-10-21"))
    assert failure.message == "temperature: Extra inputs are not permitted"


@pytest.mark.parametrize("odd", [None, 5, [], "x", {}, {"type": []}, [None], [{"role": []}]])
def test_the_function_is_pure_and_takes_anything(odd):
    for key in ("tool_choice", "thinking", "messages"):
        assert refused_by("claude-opus-5-5", {key: odd}) is None
    assert refused_by("claude-of-another", {"temperature": 1}) is None
