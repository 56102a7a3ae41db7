"""What each model refuses, written out by hand from docs/reference/wire.md §2.3 and §4."""

from __future__ import annotations

from typing import Any

import pytest

from django_claude_batches.model_limits import EXTENDED_BETA, MODELS, is_lifted, warnings_of
from django_claude_batches.pricing import bundled
from django_claude_batches.testing.emulator.validation import models as emulator

MESSAGES = [{"role": "user", "content": "Hello"}]
PREFILL = [*MESSAGES, {"role": "assistant", "content": "{"}]
TOOL = {"type": "tool", "name": "store"}

DATES = {"claude-haiku-4-5": "20251001", "claude-opus-4-5": "20251101", "claude-sonnet-4-5": "20250929"}
NEW = "opus-4-7 opus-4-8 opus-5 opus-5-5 sonnet-5 sonnet-5-5"
SEALED = "opus-5-5 fable-5 fable-5-1 fable-5-2 mythos-5 mythos-5-1 mythos-5-2 mythos-preview"
TABLE: list[tuple[dict[str, Any], str, str]] = [
    ({"temperature": 0.5}, "refuses temperature", f"{NEW} haiku-5-5 {SEALED}"),
    ({"temperature": 1}, "refuses temperature", f"{NEW} haiku-5-5 {SEALED}"),
    ({"top_p": 0.5}, "refuses top_p", f"{NEW} haiku-5-5 {SEALED}"),
    ({"top_k": 5}, "refuses top_k", f"{NEW} haiku-5-5 {SEALED}"),
    ({"tool_choice": {"type": "any"}}, "refuses a tool_choice of type any or tool", SEALED),
    ({"tool_choice": TOOL}, "refuses a tool_choice of type any or tool", SEALED),
    ({"thinking": {"type": "enabled"}}, "refuses thinking of type enabled: use adaptive", f"{NEW} {SEALED}"),
    ({"thinking": {"type": "disabled"}}, "refuses thinking of type disabled", SEALED),
    ({"messages": PREFILL}, "refuses a last message of the role assistant", f"opus-4-6 sonnet-4-6 {NEW}"),
    ({"max_tokens": 64_001}, "refuses max_tokens above 64,000", "opus-4-5 sonnet-4-5 haiku-4-5"),
]
TAKEN_BY_ALL: list[dict[str, Any]] = [
    {},
    {"temperature": None},
    {"tool_choice": {"type": "auto"}},
    {"tool_choice": {"type": ["any"]}},
    {"thinking": {"type": "adaptive"}},
    {"thinking": "enabled"},
    {"messages": []},
    {"messages": ["assistant"]},
    {"max_tokens": 64_000},
    {"max_tokens": "many"},
]


def said(model: Any, betas: tuple[str, ...] = (), **params: Any) -> list[str]:
    found = warnings_of({"model": model, "max_tokens": 5, "messages": MESSAGES, **params})
    return [warning for warning in found if not is_lifted(warning, betas)]


@pytest.mark.parametrize(("params", "words", "models"), TABLE)
def test_what_each_model_refuses(params: dict[str, Any], words: str, models: str) -> None:
    refusing = {f"claude-{name}" for name in models.split()}
    assert refusing <= set(MODELS)
    for model in MODELS:
        assert said(model, **params) == ([f"{model} {words}"] if model in refusing else []), model
        assert said(f"{model}-20260401", **params) == said(model, **params)


@pytest.mark.parametrize("params", TAKEN_BY_ALL)
def test_what_every_model_takes(params: dict[str, Any]) -> None:
    assert [model for model in MODELS if said(model, **params)] == []


def test_max_tokens_above_what_a_model_and_a_beta_allow() -> None:
    beta = ("other", "output-300k-2026-03-24")
    for model in MODELS:
        most = 64_000 if "4-5" in model else 128_000
        extended = model.removeprefix("claude-") in f"opus-4-6 sonnet-4-6 haiku-5-5 {NEW}".split()
        assert said(model, max_tokens=most) == said(model, beta, max_tokens=300_000 if extended else most) == []
        assert said(model, max_tokens=most + 1) == [f"{model} refuses max_tokens above {most:,}"]
        assert said(model, beta, max_tokens=300_001) == [
            f"{model} refuses max_tokens above {300_000 if extended else most:,}"
        ]


@pytest.mark.parametrize("model", ["claude-opus-6", "claude-opus-5-5-5", "mine", "", None, 7, ["claude-opus-5"]])
def test_an_unknown_model_has_no_warnings(model: Any) -> None:
    everything = {"temperature": 1, "tool_choice": TOOL, "messages": PREFILL, "max_tokens": 10**9}
    assert said(model, **everything, thinking={"type": "enabled"}) == []


def test_all_models_that_have_a_price_are_in_the_table() -> None:
    assert set(MODELS) == set(bundled().models)


def test_a_paused_turn_that_is_continued_is_no_prefill() -> None:
    paused = [*MESSAGES, {"role": "assistant", "content": [{"type": "server_tool_use", "id": "srvtoolu_1"}]}]
    assert said("claude-opus-5", messages=paused) == []
    assert said("claude-opus-5", messages=[*paused[:1], {"role": "assistant", "content": [7, {"type": "text"}]}])


def test_the_table_of_the_emulator_has_the_same_facts() -> None:
    """The two share no code: each is written from the docs."""
    assert set(emulator.MODELS) == {*MODELS, *(f"{name}-{date}" for name, date in DATES.items())}
    for model, facts in emulator.MODELS.items():
        for params in (*(params for params, _words, _models in TABLE), *TAKEN_BY_ALL):
            if "max_tokens" not in params:
                is_refused = emulator.refused_by(model, {"messages": MESSAGES, **params}) is not None
                assert is_refused == bool(said(model, **params)), (model, params)
        for betas, most in (((), facts.max_tokens), ((EXTENDED_BETA,), facts.max_tokens_beta)):
            assert (said(model, betas, max_tokens=most), len(said(model, betas, max_tokens=most + 1))) == ([], 1), model
