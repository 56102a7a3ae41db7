"""What the client loads, and what it holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.scripted_server import BATCH_ID, Answer, Script, batch

ROOT = Path(__file__).parents[2]


def run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, timeout=60, capture_output=True, text=True).stdout


def test_neither_django_nor_celery_is_loaded() -> None:
    loaded = run("import sys, django_claude_batches.client; print(*sys.modules)").split()
    assert "django_claude_batches.client.transport" in loaded
    roots = {name.split(".")[0] for name in loaded}
    assert not {"django", "celery", "kombu"} & roots
    assert "django_claude_batches.conf" not in loaded


PEAK = """
import sys
from django_claude_batches.client import BatchesClient
from tests.harness.memory import peak_mb
client = BatchesClient(api_key="key", base_url=sys.argv[1])
client.retrieve(sys.argv[2])
before = peak_mb()
"""

CREATE = """
client.create({"custom_id": f"row-{n}", "params": {"text": str(n) * 200}} for n in range(20_000))
print(peak_mb() - before)
"""

RESULTS = """
with client.result_lines(sys.argv[2]) as lines:
    assert sum(1 for _ in lines) == 25_000
assert sum(1 for _ in client.results(sys.argv[2])) == 25_000
print(peak_mb() - before)
"""


def test_twenty_thousand_requests_are_sent_in_constant_memory(server: Script) -> None:
    server.answers(Answer(data=batch()))
    grown = float(run(PEAK + CREATE, server.url, BATCH_ID))
    assert len(server.received[-1].body) > 15_000_000
    assert grown < 10  # MB: the ids, 1 MB of the spool, and what the allocator rounds up


@pytest.mark.slow
def test_fifty_megabytes_of_results_are_read_in_constant_memory(server: Script) -> None:
    line = {"custom_id": "row-123", "result": {"type": "succeeded", "message": {"content": "x" * 1900}}}
    body = (json.dumps(line).encode() + b"\n") * 25_000
    assert len(body) > 49_000_000
    server.answers(Answer(data=batch()), Answer(body=body))
    assert float(run(PEAK + RESULTS, server.url, BATCH_ID)) < 10  # MB
