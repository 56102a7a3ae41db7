"""The comparison on SQLite: the package's client and table, with rows stored by `bulk_create`.

Model instances and `bulk_create(1000)`, without sanitizing values or checking for missing results.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import django

django.setup()

from django.db import connection, transaction  # noqa: E402

from django_claude_batches.client import BatchesClient, Line  # noqa: E402
from django_claude_batches.models import BatchResult, MessageBatch  # noqa: E402
from tests.benchmarks.steps.clock import Clock  # noqa: E402


def chunked(lines: Iterable[Line], size: int) -> Iterator[list[Line]]:
    lines = iter(lines)
    while chunk := list(itertools.islice(lines, size)):
        yield chunk


def row(line: Line, batch: MessageBatch, requests: dict[str, int]) -> BatchResult:
    data = json.loads(line.data)
    custom_id, result = data["custom_id"].partition("_")[2], data["result"]
    made = BatchResult(batch=batch, request_id=requests[custom_id], custom_id=custom_id, result_type=result["type"])
    if result["type"] == "succeeded":
        fill(made, result["message"])
    elif result["type"] == "errored":
        error = result["error"]["error"]
        made.error_type, made.error_message = error["type"], error["message"]
    return made


def fill(made: BatchResult, message: dict[str, Any]) -> None:
    usage = message["usage"]
    made.message, made.model, made.stop_reason = message, message["model"], message["stop_reason"]
    made.input_tokens, made.output_tokens = usage["input_tokens"], usage["output_tokens"]
    made.cache_read_tokens, made.service_tier = usage["cache_read_input_tokens"], usage["service_tier"]
    made.cache_write_5m_tokens = usage["cache_creation"]["ephemeral_5m_input_tokens"]
    made.cache_write_1h_tokens = usage["cache_creation"]["ephemeral_1h_input_tokens"]


def ingest(client: BatchesClient, batch: MessageBatch) -> None:
    requests = dict(batch.requests.values_list("custom_id", "pk"))
    with client.result_lines(str(batch.anthropic_id)) as lines:
        for chunk in chunked(lines, 1000):
            rows = [row(line, batch, requests) for line in chunk]
            with transaction.atomic():
                BatchResult.objects.bulk_create(rows)


if __name__ == "__main__":
    client = BatchesClient(api_key="any", base_url=os.environ["ANTHROPIC_BASE_URL"])
    connection.ensure_connection()
    batch = MessageBatch.objects.get()
    clock = Clock()
    ingest(client, batch)
    clock.stop()
    clock.report(batch.results.count())
