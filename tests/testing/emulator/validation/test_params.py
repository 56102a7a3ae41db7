"""What is wrong with `params`, found when the batch ends (docs/reference/wire.md §3.2, §4, §6)."""

from __future__ import annotations

import pytest

from django_claude_batches.testing import Failure
from django_claude_batches.testing.emulator.validation.params import MODELS, OUTPUT_300K, Terms, judge
from tests.testing.caller import params

OLD = Terms("2023-06-01")
NEW = Terms("2026-10-21")
BETA = Terms("2026-10-21", (OUTPUT_300K,))

WRONG = [
    ({"stream": True}, '"stream=True" is not supported in the Message Batches API'),
    ({"model": None}, "model: Field required"),
    ({"model": 7}, "model: Input should be a valid string"),
    ({"messages": None}, "messages: Field required"),
    ({"messages": []}, "messages: at least one message is required"),
    ({"messages": "hello"}, "messages: Input should be a valid list"),
    ({"messages": ["hello"]}, "messages.0: Input should be a valid dictionary"),
    ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
    ({"messages": [{"role": "me", "content": ""}]}, "messages.0.role: Input should be 'user', 'assistant' or 'system'"),
    ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content: Input should be a valid list"),
    ({"max_tokens": None}, "max_tokens: Field required"),
    ({"max_tokens": "64"}, "max_tokens: Input should be a valid integer"),
    ({"max_tokens": True}, "max_tokens: Input should be a valid integer"),
    ({"max_tokens": 0}, "max_tokens: must be greater than or equal to 1"),
    (
        {"max_tokens": 100_000},
        (
            "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens for "
            "claude-haiku-4-5-20251001"
        ),
    ),
    ({"custom": 1}, "custom: Extra inputs are not permitted"),
    ({"betas": []}, "betas: Extra inputs are not permitted"),
    ({"speed": "fast"}, '"speed=fast" is not supported in the Message Batches API'),
    ({"fallbacks": [{}]}, '"fallbacks" is not supported in the Message Batches API'),
    (
        {"billing_policy": {"bill_to": "user_profile"}},
        "billing_policy.bill_to: user_profile is not supported in the Message Batches API",
    ),
]


@pytest.mark.parametrize("terms", [OLD, NEW], ids=["2023-06-01", "2026-10-21"])
@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message[:50] for _, message in WRONG])
def test_wrong_params(changes, message, terms):
    assert judge(params(**changes), terms) == Failure("invalid_request_error", message)


@pytest.mark.parametrize(
    "model", ["claude-does-not-exist-9", "claude-opus-4-1", "claude-opus", "claude-haiku-4-5-2025"]
)
def test_unknown_and_retired_models_are_not_found(model):
    assert judge(params(model=model), OLD) == Failure("not_found_error", f"model: {model}")


@pytest.mark.parametrize("key", ["temperature", "top_p", "top_k"])
def test_sampling_parameters_go_with_the_version(key):
    assert judge(params(**{key: 1}), OLD) is None
    assert judge(params(**{key: 1}), NEW).message == f"{key}: Extra inputs are not permitted"


@pytest.mark.parametrize(
    ("message", "where"),
    [
        (
            {"role": "assistant", "content": [{"type": "document", "source": {"type": "file", "file_id": "file_1"}}]},
            "messages.0.content.0: ",
        ),
        ({"role": "user", "content": [{"type": "text", "text": "x", "citations": [{}]}]}, "messages.0.content.0.text."),
    ],
)
def test_content_that_the_new_version_removed(message, where):
    assert judge(params(messages=[message]), OLD) is None
    assert judge(params(messages=[message]), NEW).message.startswith(where)


@pytest.mark.parametrize(
    ("model", "plain", "beta"),
    [
        ("claude-opus-5-5", 128_000, 300_000),
        ("claude-sonnet-4-6", 128_000, 300_000),
        ("claude-fable-5-2", 128_000, 128_000),
        ("claude-haiku-4-5", 64_000, 64_000),
    ],
)
def test_most_output_tokens(model, plain, beta):
    for terms, limit in ((NEW, plain), (BETA, beta)):
        assert judge(params(model=model, max_tokens=limit), terms) is None
        assert f"{limit + 1} > {limit}" in judge(params(model=model, max_tokens=limit + 1), terms).message


@pytest.mark.parametrize(
    "changes",
    [
        {"stream": False},
        {"speed": "standard"},
        {"fallback_credit_token": "ignored"},
        {"system": "Be brief.", "tools": [], "metadata": {}, "output_config": {}, "thinking": {"type": "adaptive"}},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]},
    ],
)
def test_params_that_are_taken(changes):
    assert judge(params(**changes), NEW) is None


def test_a_user_profile_must_be_the_headers():
    terms = Terms("2026-10-21", (), "profile-1")
    assert judge(params(user_profile_id="profile-1"), terms) is None
    assert judge(params(user_profile_id="profile-2"), terms).type == "invalid_request_error"


def test_each_model_answers_to_its_alias_with_its_dated_id():
    assert {MODELS[f"claude-{name}"].id for name in ("haiku-4-5", "sonnet-4-5", "opus-4-5", "opus-5")} == {
        "claude-haiku-4-5-20251001",
        "claude-sonnet-4-5-20250929",
        "claude-opus-4-5-20251101",
        "claude-opus-5",
    }
