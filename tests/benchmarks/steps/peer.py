"""The peer: a simple implementation with the official SDK and Django's ORM.

The peer is the code between the two lines of hyphens; the rest is for measuring.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Iterable, Iterator
from typing import Any

import anthropic
import django
from django.conf import settings

from tests.benchmarks.steps.clock import Clock
from tests.benchmarks.steps.requests import Requests
from tests.settings import DATABASES

settings.configure(
    DATABASES={"default": DATABASES["default"]},
    INSTALLED_APPS=[],
    USE_TZ=True,
    DEBUG=False,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

from django.db import connection, models, transaction  # noqa: E402


# ------------------------------------------------------------------ the peer
class Batch(models.Model):
    api_id = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=16, default="draft")

    class Meta:
        app_label = "peer"

    def __str__(self) -> str:
        return self.api_id


class Request(models.Model):
    batch = models.ForeignKey(Batch, models.CASCADE)
    custom_id = models.CharField(max_length=64)
    params = models.JSONField()

    class Meta:
        app_label = "peer"
        constraints = [models.UniqueConstraint(fields=["batch", "custom_id"], name="peer_req_uq")]

    def __str__(self) -> str:
        return self.custom_id


class Result(models.Model):
    batch = models.ForeignKey(Batch, models.CASCADE)
    custom_id = models.CharField(max_length=64)
    status = models.CharField(max_length=12)
    result = models.JSONField()
    text = models.TextField(default="")
    model = models.CharField(max_length=64, default="")
    input_tokens = models.IntegerField(null=True)
    output_tokens = models.IntegerField(null=True)

    class Meta:
        app_label = "peer"
        constraints = [models.UniqueConstraint(fields=["batch", "custom_id"], name="peer_res_uq")]
        indexes = [models.Index(fields=["batch", "status"], name="peer_res_bs")]

    def __str__(self) -> str:
        return self.custom_id


def chunked(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    items = iter(items)
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def draft(requests: Iterable[tuple[str, Any]]) -> None:
    batch = Batch.objects.create()
    for chunk in chunked(requests, 1000):
        Request.objects.bulk_create(Request(batch=batch, custom_id=c, params=p) for c, p in chunk)


def submit(client: anthropic.Anthropic) -> Batch:
    batch = Batch.objects.get(status="draft")
    requests: Any = [
        {"custom_id": r.custom_id, "params": r.params} for r in batch.request_set.iterator(chunk_size=1000)
    ]
    api = client.messages.batches.create(requests=requests)
    batch.api_id, batch.status = api.id, "submitted"
    batch.save()
    return batch


def ingest(client: anthropic.Anthropic) -> int:
    batch = Batch.objects.get(status="submitted")
    if client.messages.batches.retrieve(batch.api_id).processing_status != "ended":
        raise RuntimeError("it has not ended")
    stored = 0
    for chunk in chunked(client.messages.batches.results(batch.api_id), 1000):
        rows = []
        for line in chunk:
            row = Result(
                batch=batch,
                custom_id=line.custom_id,
                status=line.result.type,
                result=line.result.model_dump(mode="json"),
            )
            if line.result.type == "succeeded":
                m = line.result.message
                row.text = "".join(b.text for b in m.content if b.type == "text")
                row.model, row.input_tokens, row.output_tokens = m.model, m.usage.input_tokens, m.usage.output_tokens
            rows.append(row)
        with transaction.atomic():
            Result.objects.bulk_create(rows)
        stored += len(rows)
    batch.status = "done"
    batch.save()
    return stored


def poll(client: anthropic.Anthropic) -> None:
    for batch in Batch.objects.filter(status="in_progress"):
        batch.status = client.messages.batches.retrieve(batch.api_id).processing_status
        batch.save()


# ---------------------------------------------------------------- /the peer


def reset() -> None:
    """Create the tables; drop existing ones first."""
    there = connection.introspection.table_names()
    with connection.schema_editor() as editor:
        for model in (Result, Request, Batch):
            if model._meta.db_table in there:
                editor.delete_model(model)
    with connection.schema_editor() as editor:
        for model in (Batch, Request, Result):
            editor.create_model(model)
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM")


def timed(step: str, count: int) -> None:
    """Measure a step; drafting and polling begin with empty tables."""
    client = anthropic.Anthropic(api_key="any", base_url=os.environ["ANTHROPIC_BASE_URL"])
    connection.ensure_connection()
    if step in {"draft", "poll"}:
        reset()
    requests = Requests(count) if step == "draft" else []
    if step == "poll":
        ids = [batch.id for batch in client.messages.batches.list(limit=1000)]
        Batch.objects.bulk_create(Batch(api_id=api_id, status="in_progress") for api_id in ids)
    clock = Clock()
    if step == "draft":
        draft(requests)
        clock.stop()
        clock.report(count)
    elif step == "submit":
        batch = submit(client)
        clock.stop()
        clock.report(count, remote=batch.api_id)
    elif step == "ingest":
        stored = ingest(client)
        clock.stop()
        clock.report(stored)
    else:
        poll(client)
        clock.stop()
        clock.report(len(ids))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=["draft", "submit", "ingest", "poll"])
    parser.add_argument("--n", type=int, default=0)
    options = parser.parse_args()
    timed(options.step, options.n)
