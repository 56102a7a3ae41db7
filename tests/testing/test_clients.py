"""Third-party clients, which the environment points at the emulator: each sends a batch and fetches its results.

`tox run -e clients-old,clients-new` runs them with the SDK before 2.0 and the newest; clients that are not installed
are skipped. This file requires only pytest: the old SDK cannot be installed with the tests' other packages.
"""

from __future__ import annotations

import asyncio
import json

import pytest

from django_claude_batches.testing import ClaudeEmulator
from tests.testing.caller import params, requests_of

anthropic = pytest.importorskip("anthropic")

IS_OLD = int(anthropic.__version__.partition(".")[0]) < 2


def test_the_sdk():
    with ClaudeEmulator() as claude, anthropic.Anthropic(max_retries=0) as client:
        batches = client.messages.batches if hasattr(client.messages, "batches") else client.beta.messages.batches
        body = requests_of("a")["requests"] + [{"custom_id": "b", "params": params(max_tokens=0)}]
        batch = batches.create(requests=body)
        assert batches.retrieve(batch.id).processing_status == "in_progress"
        claude.finish()
        lines = {line.custom_id: line.result for line in batches.results(batch.id)}
        assert lines["a"].message.content[0].text == "Hello"
        assert lines["b"].error.error.message == "max_tokens: must be greater than or equal to 1"
        assert [each.id for each in batches.list()] == [batch.id]
        batches.delete(batch.id)
        with pytest.raises(anthropic.NotFoundError):
            batches.retrieve(batch.id)
        sent = claude.requests[0].headers
    assert sent["anthropic-version"] == ("2023-06-01" if IS_OLD else "2026-10-21")
    assert ("x-api-key" in sent, "authorization" in sent) == (IS_OLD, not IS_OLD)


@pytest.mark.skipif(not IS_OLD, reason="instructor sends a temperature, which version 2026-10-21 refuses")
def test_instructor():
    """It forces a tool."""
    batch = pytest.importorskip("instructor.batch")
    pydantic = pytest.importorskip("pydantic")
    tag = pydantic.create_model("Tag", tag=(str, ...), others=(list[str], ...))
    asked = [[{"role": "user", "content": f"Tag this review:\n{word}"}] for word in ("warm", "cold")]
    with ClaudeEmulator() as claude:
        processor = batch.BatchProcessor("anthropic/claude-haiku-4-5", tag)
        batch_id = processor.submit_batch(processor.create_batch_from_messages(asked))
        claude.finish()
        assert processor.get_batch_status(batch_id)["status"] == "ended"
        results = {each.custom_id: each.result for each in processor.retrieve_results(batch_id)}
    assert {name: (each.tag, each.others) for name, each in results.items()} == {
        "request-0": ("warm", ["warm"]),
        "request-1": ("cold", ["cold"]),
    }


def test_inspect_ai():
    """It polls automatically, and requests `results_url`."""
    models = pytest.importorskip("inspect_ai.model")
    tools = pytest.importorskip("inspect_ai.tool")
    tag = tools.ToolInfo(
        name="tag",
        description="Tag a review.",
        parameters=tools.ToolParams(properties={"tag": {"type": "string"}}, required=["tag"]),
    )

    async def story():
        config = models.GenerateConfig(max_tokens=64, batch=models.BatchConfig(size=2, send_delay=0.1, tick=0.1))
        model = models.get_model("anthropic/claude-haiku-4-5", config=config, memoize=False)
        return await asyncio.gather(
            model.generate("warm"), model.generate("cold", tools=[tag], tool_choice=tools.ToolFunction("tag"))
        )

    with ClaudeEmulator(seconds=0.5) as claude:
        text, used = asyncio.run(story())
        assert len(claude.batches) == 1
    assert text.completion == "warm"
    [call] = used.message.tool_calls
    assert (call.function, json.dumps(call.arguments)) == ("tag", '{"tag": "cold"}')
