"""Compare with Anthropic's SDK, pointed at the emulator: it must work as with the API.

Its client validates strictly here (`_strict_response_validation`), so a missing or mistyped field is an error.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import anthropic
import pytest
from anthropic.types.messages import (
    DeletedMessageBatch,
    MessageBatch,
    MessageBatchIndividualResponse,
    MessageBatchRequestCounts,
)

from django_claude_batches.testing import (
    ClaudeEmulator,
    Failure,
    Reply,
    failing,
    refusing,
    scripted,
    thinking,
    truncated,
    using_tool,
)
from django_claude_batches.testing.emulator.validation.models import MODELS
from tests.testing.caller import params, requests_of

TOOL = {"name": "tag", "input_schema": {"type": "object", "properties": {"tag": {"type": "string"}}}}


@pytest.fixture
def claude(claude_emulator):
    return claude_emulator


@pytest.fixture
def sdk(claude):
    """Return the SDK's client, which reads the emulator's URL and key from the environment."""
    with anthropic.Anthropic(max_retries=0, _strict_response_validation=True) as client:
        yield client


def results_with(replies, *custom_ids, **changes):
    """Return the SDK's result objects by custom_id, of an ended batch with these replies."""
    with (
        ClaudeEmulator(replies=replies) as claude,
        anthropic.Anthropic(max_retries=0, _strict_response_validation=True) as client,
    ):
        batch = client.messages.batches.create(**requests_of(*(custom_ids or ("a",)), **changes))
        claude.finish()
        return results(client, batch.id)


def results(client, batch_id):
    lines = list(client.messages.batches.results(batch_id))
    for line in lines:
        assert isinstance(line, MessageBatchIndividualResponse)
        MessageBatchIndividualResponse.model_validate(line.model_dump(), strict=True)
    return {line.custom_id: line.result for line in lines}


def test_what_it_sends_is_what_the_log_says(claude, sdk):
    sdk.messages.batches.create(**requests_of("a"))
    received = claude.requests[0]
    assert (received.method, received.path, received.query) == ("POST", "/v1/messages/batches", {})
    assert received.headers["authorization"] == f"Bearer {claude.api_key}"
    assert received.headers["anthropic-version"] == claude.batches[0].anthropic_version == "2026-10-21"
    assert claude.batches[0].requests == requests_of("a")["requests"]


def test_create_and_retrieve(claude, sdk):
    before = datetime.now(UTC)
    created = sdk.messages.batches.create(**requests_of("a", "b"))
    assert isinstance(created, MessageBatch)
    assert created == sdk.messages.batches.retrieve(created.id)
    assert created.type == "message_batch"
    assert created.processing_status == "in_progress"
    assert created.request_counts == MessageBatchRequestCounts(
        processing=2, succeeded=0, errored=0, canceled=0, expired=0
    )
    assert before <= created.created_at <= datetime.now(UTC)
    assert created.expires_at - created.created_at == timedelta(hours=24)
    assert created.ended_at is created.archived_at is created.cancel_initiated_at is created.results_url is None
    assert created.model_extra == {}


def test_an_ended_batch(claude, sdk):
    batch_id = sdk.messages.batches.create(**requests_of("a", "b")).id
    claude.finish()
    ended = sdk.messages.batches.retrieve(batch_id)
    assert ended.processing_status == "ended"
    assert (ended.request_counts.processing, ended.request_counts.succeeded) == (0, 2)
    assert ended.created_at < ended.ended_at < ended.expires_at
    assert ended.results_url == f"{claude.url}/v1/messages/batches/{batch_id}/results"


def test_an_archived_batch_is_still_there_without_its_results(claude, sdk):
    batch_id = sdk.messages.batches.create(**requests_of("a")).id
    claude.finish()
    claude.pass_time(29 * 24 * 3600)
    archived = sdk.messages.batches.retrieve(batch_id)
    assert archived.archived_at == archived.created_at + timedelta(days=29)
    with pytest.raises(anthropic.NotFoundError, match="has no available results"):
        sdk.messages.batches.results(batch_id)


def test_the_raw_answer(claude, sdk):
    batch_id = sdk.messages.batches.create(**requests_of("a")).id
    raw = sdk.messages.batches.with_raw_response.retrieve(batch_id)
    assert raw.headers["retry-after"] == "10"
    assert raw.headers["anthropic-workspace-id"] == claude.workspace_id
    assert raw.request_id == claude.requests[-1].request_id


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 20])
def test_paging_to_older_batches(sdk, limit):
    ids = [sdk.messages.batches.create(**requests_of("a")).id for _ in range(5)]
    assert [batch.id for batch in sdk.messages.batches.list(limit=limit)] == ids[::-1]
    assert [batch.id for batch in sdk.messages.batches.list(limit=limit, after_id=ids[3])] == ids[2::-1]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 20])
def test_paging_to_newer_batches(claude, sdk, limit):
    ids = [sdk.messages.batches.create(**requests_of("a")).id for _ in range(5)]
    newer = [batch.id for batch in sdk.messages.batches.list(limit=limit, before_id=ids[0])]
    assert sorted(newer) == sorted(ids[1:])
    pages = [request.query for request in claude.requests if request.method == "GET"]
    assert len(pages) == -(-4 // limit)


def test_a_page(sdk):
    assert (sdk.messages.batches.list().data, sdk.messages.batches.list().first_id) == ([], None)
    ids = [sdk.messages.batches.create(**requests_of("a")).id for _ in range(3)]
    page = sdk.messages.batches.list(limit=2)
    assert (page.first_id, page.last_id, page.has_more) == (ids[2], ids[1], True)
    assert page.has_next_page()
    assert page.get_next_page().has_more is False


def test_cancel(claude, sdk):
    batch_id = sdk.messages.batches.create(**requests_of("a", "b")).id
    canceling = sdk.messages.batches.cancel(batch_id)
    assert (canceling.processing_status, canceling.request_counts.processing) == ("canceling", 2)
    assert canceling.cancel_initiated_at > canceling.created_at
    assert sdk.messages.batches.cancel(batch_id) == canceling
    claude.finish()
    ended = sdk.messages.batches.retrieve(batch_id)
    assert (ended.processing_status, ended.request_counts.canceled) == ("ended", 2)
    assert ended.cancel_initiated_at == canceling.cancel_initiated_at
    assert {result.type for result in results(sdk, batch_id).values()} == {"canceled"}


def test_expiry(claude, sdk):
    batch_id = sdk.messages.batches.create(**requests_of("a", "b")).id
    claude.pass_time(24 * 3600)
    ended = sdk.messages.batches.retrieve(batch_id)
    assert (ended.processing_status, ended.request_counts.expired) == ("ended", 2)
    assert {result.type for result in results(sdk, batch_id).values()} == {"expired"}


def test_delete(claude, sdk):
    batch_id = sdk.messages.batches.create(**requests_of("a")).id
    with pytest.raises(anthropic.BadRequestError, match="In progress batches cannot be deleted"):
        sdk.messages.batches.delete(batch_id)
    sdk.messages.batches.cancel(batch_id)
    with pytest.raises(anthropic.BadRequestError, match="has not finished canceling"):
        sdk.messages.batches.delete(batch_id)
    claude.finish()
    deleted = sdk.messages.batches.delete(batch_id)
    assert deleted == DeletedMessageBatch(id=batch_id, type="message_batch_deleted")
    with pytest.raises(anthropic.NotFoundError):
        sdk.messages.batches.retrieve(batch_id)


def test_the_models_are_listed_and_found(sdk):
    listed = list(sdk.models.list(limit=4))
    assert {model.id for model in listed} == {model.id for model in MODELS.values()}
    assert len(listed) == len(set(MODELS.values()))
    found = sdk.models.retrieve("claude-haiku-4-5")
    assert found == next(model for model in listed if model.id == "claude-haiku-4-5-20251001")
    assert (found.line, found.lifecycle, found.max_tokens) == ("haiku", "active", 64_000)


def test_tokens_are_counted(sdk):
    asked = params(max_tokens=None)
    assert sdk.messages.count_tokens(**asked).input_tokens == 10
    with pytest.raises(anthropic.BadRequestError, match="thinking: Input tag 'deep'"):
        sdk.messages.count_tokens(**asked, thinking={"type": "deep"})


def failing_call(sdk, what):
    batches = sdk.messages.batches
    match what:
        case "unknown batch":
            return batches.retrieve("msgbatch_x")
        case "duplicate":
            return batches.create(**requests_of("a", "a"))
        case "limit":
            return batches.list(limit=1001)
        case "key":
            return sdk.copy(api_key="sk-ant-api03-wrong").messages.batches.list()
        case "workspace":
            return batches.list(workspace_id="wrkspc_other")
        case "too large":
            return batches.create(**requests_of("a", system="x" * 5000))


@pytest.mark.parametrize(
    ("what", "expected", "type_"),
    [
        ("unknown batch", anthropic.NotFoundError, "not_found_error"),
        ("duplicate", anthropic.BadRequestError, "invalid_request_error"),
        ("limit", anthropic.BadRequestError, "invalid_request_error"),
        ("key", anthropic.AuthenticationError, "authentication_error"),
        ("workspace", anthropic.PermissionDeniedError, "permission_error"),
        ("too large", anthropic.APIStatusError, "request_too_large"),
    ],
)
def test_its_own_errors(what, expected, type_):
    # Retries are enabled: `x-should-retry: false` must prevent them.
    with ClaudeEmulator(max_body_bytes=4000) as claude, anthropic.Anthropic(max_retries=2) as sdk:
        with pytest.raises(expected) as caught:
            failing_call(sdk, what)
        assert len(claude.requests) == 1
        assert caught.value.type == type_
        assert caught.value.status_code == claude.requests[0].status
        assert caught.value.request_id == claude.requests[0].request_id
        # For an invalid key, the body does not name the request.
        assert caught.value.body["request_id"] == (None if what == "key" else caught.value.request_id)
        assert caught.value.body["type"] == "error"


def test_results_of_a_batch_that_runs_are_not_asked_for(claude, sdk):
    batch_id = sdk.messages.batches.create(**requests_of("a")).id
    with pytest.raises(anthropic.AnthropicError, match="No `results_url`"):
        sdk.messages.batches.results(batch_id)


def test_succeeded(claude, sdk):
    batch_id = sdk.messages.batches.create(**requests_of("a")).id
    claude.finish()
    message = results(sdk, batch_id)["a"].message
    assert message.id.startswith("msg_01")
    assert (message.type, message.role, message.model) == ("message", "assistant", "claude-haiku-4-5-20251001")
    assert [(block.type, block.text) for block in message.content] == [("text", "Hello")]
    assert (message.stop_reason, message.stop_sequence, message.stop_details) == ("end_turn", None, None)
    usage = message.usage
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0
    assert (usage.cache_creation_input_tokens, usage.cache_read_input_tokens) == (0, 0)
    assert (usage.cache_creation.ephemeral_5m_input_tokens, usage.cache_creation.ephemeral_1h_input_tokens) == (0, 0)
    assert (usage.service_tier, usage.inference_geo) == ("batch", "not_available")
    assert usage.model_extra == message.model_extra == {}


def test_errored(claude, sdk):
    wrong = [
        {"custom_id": "model", "params": params(model="claude-does-not-exist-9")},
        {"custom_id": "zero", "params": params(max_tokens=0)},
        {"custom_id": "warm", "params": params(temperature=1.0)},
    ]
    batch_id = sdk.messages.batches.create(requests=wrong).id
    claude.finish()
    found = results(sdk, batch_id)
    assert {(name, result.type, result.error.error.type) for name, result in found.items()} == {
        ("model", "errored", "not_found_error"),
        ("zero", "errored", "invalid_request_error"),
        ("warm", "errored", "invalid_request_error"),
    }
    assert found["model"].error.error.message == "model: claude-does-not-exist-9"
    assert {result.error.request_id for result in found.values()} == {None}
    assert sdk.messages.batches.retrieve(batch_id).request_counts.errored == 3


def test_errored_while_running():
    error = results_with(failing(1, failure=Failure("overloaded_error", "Overloaded", while_running=True)))["a"].error
    assert (error.type, error.error.type, error.error.message) == ("error", "overloaded_error", "Overloaded")
    assert error.request_id.startswith("workerreq_")


def test_thinking():
    message = results_with(thinking(thought="Hm."))["a"].message
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert (message.content[0].thinking, bool(message.content[0].signature)) == ("Hm.", True)
    assert 0 < message.usage.output_tokens_details.thinking_tokens < message.usage.output_tokens


def test_refusal():
    message = results_with(refusing(category="bio", explanation="No."))["a"].message
    assert (message.content, message.stop_reason) == ([], "refusal")
    assert message.stop_details.model_dump() == {"type": "refusal", "category": "bio", "explanation": "No."}


def test_tool_use():
    message = results_with(using_tool(), tools=[TOOL])["a"].message
    (block,) = message.content
    assert message.stop_reason == "tool_use"
    assert (block.type, block.name, block.input) == ("tool_use", "tag", {"tag": "Hello"})
    assert block.id.startswith("toolu_01")


def test_truncation():
    message = results_with(truncated(), max_tokens=1)["a"].message
    assert (message.stop_reason, message.content[0].text, message.usage.output_tokens) == ("max_tokens", "Hell", 1)


def test_a_batch_of_many_kinds_and_models():
    replies = scripted(
        {
            "text": "plain",
            "failed": Failure("api_error", "Internal server error", while_running=True),
            "sequence": Reply("cut", stop_reason="stop_sequence", stop_sequence="\n\n"),
            "searched": Reply("found", usage={"server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0}}),
        }
    )
    models = {"text": "claude-opus-5-5", "failed": "claude-haiku-4-5", "sequence": "claude-sonnet-4-5"}
    with ClaudeEmulator(replies=replies) as claude, anthropic.Anthropic(max_retries=0) as sdk:
        requests = [
            {"custom_id": name, "params": params(model=models.get(name, "claude-fable-5-2"))}
            for name in ("text", "failed", "sequence", "searched", "other")
        ]
        batch_id = sdk.messages.batches.create(requests=requests).id
        claude.finish()
        found = results(sdk, batch_id)
    assert {name: result.type for name, result in found.items()} == {
        "text": "succeeded",
        "failed": "errored",
        "sequence": "succeeded",
        "searched": "succeeded",
        "other": "succeeded",
    }
    assert found["text"].message.model == "claude-opus-5-5"
    assert found["sequence"].message.model == "claude-sonnet-4-5-20250929"
    assert found["sequence"].message.stop_sequence == "\n\n"
    assert found["searched"].message.usage.server_tool_use.web_search_requests == 2


def test_the_beta_namespace(claude, sdk):
    batches = sdk.beta.messages.batches
    batch_id = batches.create(**requests_of("a"), betas=["output-300k-2026-03-24"]).id
    claude.finish()
    assert "output-300k-2026-03-24" in claude.batches[0].betas
    assert [line.result.type for line in batches.results(batch_id)] == ["succeeded"]
    assert [batch.id for batch in batches.list()] == [batch_id]
    assert batches.delete(batch_id).type == "message_batch_deleted"


def test_the_asynchronous_client(claude):
    async def story():
        async with anthropic.AsyncAnthropic(max_retries=0, _strict_response_validation=True) as client:
            batch = await client.messages.batches.create(**requests_of("a", "b"))
            claude.finish()
            return sorted([line.custom_id async for line in await client.messages.batches.results(batch.id)])

    assert asyncio.run(story()) == ["a", "b"]


def test_it_pays_three_times_where_answers_are_lost(claude):
    """The SDK retries twice by default, and no header marks the three calls as one."""
    claude.fault("lost_answer", times=None)
    with anthropic.Anthropic() as client, pytest.raises(anthropic.APIConnectionError):
        client.messages.batches.create(**requests_of("a"))
    assert [request.answer for request in claude.requests] == ["lost"] * 3
    assert len(claude.batches) == 3
    assert not any("idempotency" in name for request in claude.requests for name in request.headers)
