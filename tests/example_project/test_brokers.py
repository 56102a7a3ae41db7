"""The example project with other brokers, without a change to it."""

from __future__ import annotations

import json
import secrets

import pytest
import redis

from tests.example_project.conftest import Run, Start
from tests.harness import requirements

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    "marker", [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("redis", "rabbitmq")]
)
def test_the_main_job(start: Start, no_wait: None, marker: str) -> None:
    variables = {"CELERY_BROKER_URL": requirements.BY_MARKER[marker].url, "DEMO_QUEUE": f"test-{secrets.token_hex(4)}"}
    with start("demo", "--processes", "2", **variables) as process:
        out, err = process.communicate(timeout=115)
    assert process.returncode == 0, out + err


@pytest.mark.redis
def test_a_message_holds_a_primary_key_and_nothing_else(run: Run, redis_url: str) -> None:
    """No worker runs, so the message stays in Redis."""
    queue, key = f"test-{secrets.token_hex(4)}", "sk-ant-api03-CANARY-0815"
    variables = {"REDIS_URL": redis_url, "DEMO_QUEUE": queue, "ANTHROPIC_API_KEY": key}
    code = """
from django_claude_batches import services, tasks
from django_claude_batches.models import MessageBatch
asked = {"model": "claude-haiku-4-5", "max_tokens": 1, "messages": [{"role": "user", "content": "Hello"}]}
batch = MessageBatch.objects.create_draft([{"params": asked}])
services.submit(batch)
tasks.kick()
tasks.tick()
"""
    assert run("migrate", "-v", "0", **variables).returncode == 0
    ran = run("shell", "-v", "0", "-c", code, **variables)
    assert ran.returncode == 0, ran.stderr
    with redis.Redis.from_url(redis_url) as server:
        raw = server.lrange(queue, 0, -1)
        server.delete(queue)
    assert len(raw) == 2
    assert key.encode() not in b"".join(raw)
    messages = {message["headers"]["task"]: message["headers"] for message in map(json.loads, raw)}
    assert messages["django_claude_batches.tick"]["argsrepr"] == "()"
    assert messages["django_claude_batches.advance"]["argsrepr"] == "(1,)"
    assert all(headers["eta"] is None for headers in messages.values())
    assert all(headers["expires"] is None for headers in messages.values())
