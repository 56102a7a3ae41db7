"""Create rows in which every text from outside is one of the hostile outputs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import models
from django.utils import timezone

from django_claude_batches.models import (
    AccountState,
    BatchRequest,
    BatchResult,
    DeliveryChunk,
    FailedDelivery,
    JobRun,
    MessageBatch,
    Outcome,
    RemoteBatch,
    ResultProblem,
    RunState,
    SubmitAttempt,
    UsageRollup,
)
from tests.browser.hostile.outputs import LONG, OUTPUTS

TEXTS = list(OUTPUTS.values())
ALL = "\n".join(TEXTS)

# Columns whose values are set here, or validated when a row is created.
OURS = {
    "state",
    "processing_status",
    "result_type",
    "outcome",
    "lease_token",
    "tag",
    "sha256",
    "params_text",
    "cells_text",
    "custom_id",
}

IN_NOTICES = 5


def texts_of(model: type[models.Model], text: str) -> dict[str, str]:
    """Return this text for every text column of the model, cut to the column's length."""
    fields = [field for field in model._meta.concrete_fields if isinstance(field, models.CharField | models.TextField)]
    return {field.name: text[: field.max_length] for field in fields if field.name not in OURS and not field.unique}


def item(number: int, text: str) -> dict[str, Any]:
    message = {"role": "user", "content": text}
    return {
        "custom_id": f"r-{number}",
        "params": {"model": text[:60], "max_tokens": 64, "messages": [message]},
        "cells": [text[:1000]],
    }


def drafts() -> list[MessageBatch]:
    """Create a draft for each output, with it in its label, kind, last error and other texts."""
    made = []
    for text in TEXTS:
        batch = MessageBatch.objects.create_draft([item(0, text)])
        MessageBatch.objects.filter(pk=batch.pk).update(**texts_of(MessageBatch, text))
        made.append(batch)
    return made


def accounts() -> None:
    """Create an account for each output; the first few also appear in the notices above each page."""
    for number, text in enumerate(TEXTS):
        account = AccountState.objects.create(
            alias=f"{number}{text}"[:64], pause_reason=text, last_tick_at=timezone.now()
        )
        if number < IN_NOTICES:
            AccountState.objects.filter(pk=account.pk).update(paused_at=timezone.now(), audit_findings=1)


def complete() -> MessageBatch:
    """Create a complete batch with a row of each kind for each output."""
    batch = MessageBatch.objects.create_draft(itertools.starmap(item, enumerate([*TEXTS, ALL, LONG])))
    requests = batch.requests.order_by("position")
    BatchResult.objects.bulk_create(itertools.chain.from_iterable(map(_results, requests, [*TEXTS, ALL, LONG])))
    for number, text in enumerate(TEXTS, 1):
        batch.log_event("retried", text)
        ResultProblem.objects.create(
            batch=batch, number=number, offset=0, sha256=f"{number:064}", **texts_of(ResultProblem, text)
        )
        UsageRollup.objects.create(batch=batch, results=1, **texts_of(UsageRollup, text))
        attempt(batch, number, text)
    for event, text in zip(batch.events.all(), itertools.cycle(TEXTS)):
        batch.events.filter(pk=event.pk).update(**texts_of(type(event), text))
    now = timezone.now()
    counts = {"succeeded_count": len(TEXTS) // 2, "errored_count": len(TEXTS) - len(TEXTS) // 2, "missing_count": 1}
    MessageBatch.objects.filter(pk=batch.pk).update(
        **texts_of(MessageBatch, "'\"><script data-hostile>hostile(1)</script>{{ 7|add:7 }}"),
        **counts,
        error_groups=UsageRollup.objects.sum_up(batch.pk).error_groups,
        anthropic_id="\"'><script data-hostile>hostile(1)</script>",
        **_complete(now),
    )
    batch.refresh_from_db()
    return batch


def runs() -> JobRun:
    """Create a run for each output, and a paused one with all of them and failed deliveries; return that one."""
    now = timezone.now()
    JobRun.objects.bulk_create(
        JobRun(state=RunState.FINISHED, started_at=now, **texts_of(JobRun, text)) for text in TEXTS
    )
    batch = MessageBatch.objects.create_draft([item(number, text) for number, text in enumerate(TEXTS)])
    whole = f"{TEXTS[0]}: {ALL}\nTraceback (most recent call last):\n{ALL}"
    told = {"pause_reason": whole, "last_error": whole, "paused_at": now}
    run = JobRun.objects.create(state=RunState.RUNNING, **{**texts_of(JobRun, TEXTS[1]), **told})
    MessageBatch.objects.filter(pk=batch.pk).update(
        run=run, run_attempt=1, error_groups=_kinds(), anthropic_id=TEXTS[0][:50], **_complete(now)
    )
    outcomes = {text: number + 1 for number, text in enumerate(TEXTS[:20])}
    DeliveryChunk.objects.create(batch=batch, position=1, last_position=0, outcomes=outcomes, done_at=now)
    for request, text in zip(batch.requests.order_by("position"), TEXTS, strict=True):
        FailedDelivery.objects.create(
            batch=batch,
            request=request,
            position=request.position,
            outcome=text[:40],
            **texts_of(FailedDelivery, text),
        )
    return run


def _complete(now: datetime) -> dict[str, Any]:
    """Return the columns of a batch whose results are stored."""
    times = dict.fromkeys(("queued_at", "created_at", "ended_at", "ingested_at", "announced_at"), now)
    return {"state": "ingested", "processing_status": "ended", **times}


def _kinds() -> list[dict[str, Any]]:
    return [{"error_type": text, "count": 1} for text in TEXTS[:10]]


def unconfirmed() -> MessageBatch:
    """Create an unconfirmed batch with many candidates at Anthropic."""
    batch = MessageBatch.objects.create_draft([item(0, "?")], label=TEXTS[0])
    last = attempt(batch, 1, TEXTS[0])
    last.candidates = [
        {"id": text, "created_at": text, "requests": text, "status": text, "why": text} for text in TEXTS
    ]
    last.save()
    now = timezone.now()
    names = sorted({text[:127] for text in TEXTS})
    RemoteBatch.objects.bulk_create(
        RemoteBatch(account=batch.account, remote_id=name, first_seen_at=now, is_foreign=True) for name in names
    )
    MessageBatch.objects.filter(pk=batch.pk).update(state="uncertain", queued_at=now, next_action_at=now)
    return batch


def attempt(batch: MessageBatch, number: int, text: str) -> SubmitAttempt:
    now = timezone.now()
    facts = {"tag": f"t{batch.pk:05}x{number:06}", "recorded_at": now, "sent_at": now, "outcome": Outcome.UNCERTAIN}
    return SubmitAttempt.objects.create(batch=batch, number=number, **facts, **texts_of(SubmitAttempt, text))


def _results(request: BatchRequest, text: str) -> Iterator[BatchResult]:
    """Return an answer, or an error, with this text."""
    content = [{"type": "text", "text": text}, {"type": "thinking", "thinking": text}, {"type": text, text: [text]}]
    succeeded = request.position % 2 == 0
    yield BatchResult(
        batch_id=request.batch_id,
        request=request,
        result_type="succeeded" if succeeded else "errored",
        message={"role": "assistant", "content": content} if succeeded else None,
        output={text: [text]},
        raw=text.encode(),
        custom_id=f"{request.position}{text}"[:64],
        **texts_of(BatchResult, text),
    )
