"""Uploaded files: checked first, and stored as a batch when somebody has said so, once.

A file is worked on under its lease. Its draft, and that it is drafted, are one transaction.
"""

from __future__ import annotations

import contextlib
import math
import time
from datetime import timedelta
from typing import Any, BinaryIO

from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models import F

from django_claude_batches.db.leases import DatabaseNow, now_plus
from django_claude_batches.error_text import format_error
from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.models import BatchUpload, MessageBatch, UploadState
from django_claude_batches.models.upload import ALWAYS_DUE, BatchUploadQuerySet
from django_claude_batches.request_files import (
    BadPrompt,
    BadRow,
    CheckReport,
    Prompt,
    Question,
    RequestFile,
    read_schema,
)
from django_claude_batches.request_files.prompt import DEFAULT_MAX_TOKENS
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.backoff import backoff

logger = get_logger(__name__)

DRAFT_LEASE = timedelta(minutes=10)
"""A lease that suffices to draft anything: one cannot be renewed where others see it, inside a transaction."""

PROGRESS_SECONDS = 1.0
"""Seconds between two notes of how far a check is."""

MAX_FAILURES = 5
"""Consecutive failed attempts, after which a person has to look. An attempt counts when it begins: a process that is
killed cannot count it."""

TOO_MANY_FAILURES = (
    "{} attempts in a row failed or were killed. The machine may have too little memory for this file: look at the "
    "workers' logs. {}"
)


def prepare(upload: BatchUpload, *, seconds: float = math.inf) -> BatchUpload:
    """Do now, in this process, what is due for the file: check it, or draft it. Nothing is sent.

    A check that takes more than `seconds` is left to a worker, which begins it anew. What is wrong with the file is
    recorded on it; raised is what this machine does wrong, and tried again later. If another process is at it, nothing
    is done.
    """
    _work(upload.pk, only_due=False, seconds=seconds)
    with contextlib.suppress(BatchUpload.DoesNotExist):  # somebody discarded it meanwhile
        upload.refresh_from_db(using=BatchUpload.objects.primary().db)
    return upload


def prepare_if_due(pk: int) -> None:
    """Do the same for the file with this primary key, if its time has come. For tasks: a repeat does nothing."""
    _work(pk, only_due=True)


def _request_file(upload: BatchUpload, file: BinaryIO) -> RequestFile:
    """Give the file's requests; raise BadPrompt where there is nothing to ask with."""
    return RequestFile(file, name=upload.name, question=_question(upload))


def _question(upload: BatchUpload) -> Question | None:
    if not upload.prompt:
        return None
    return Question(
        prompt=Prompt(upload.prompt),
        model=upload.model,
        max_tokens=upload.max_tokens or DEFAULT_MAX_TOKENS,
        system=upload.system,
        schema=read_schema(upload.schema) if upload.schema else None,
        delimiter=upload.delimiter,
    )


def _work(pk: int, *, only_due: bool, seconds: float = math.inf) -> None:
    rows = BatchUpload.objects.primary()
    waiting = rows.filter(state__in=ALWAYS_DUE)
    token = (waiting.due() if only_due else waiting).acquire(
        pk, DRAFT_LEASE, failures=F("failures") + 1, dispatched_at=None
    )
    if token is None:
        return
    upload = rows.filter(pk=pk).first()
    if upload is None:
        return  # somebody discarded it meanwhile
    try:
        if upload.failures > MAX_FAILURES:
            _fail(upload, token, TOO_MANY_FAILURES.format(MAX_FAILURES, upload.last_error).rstrip())
        elif upload.state == UploadState.UNCHECKED:
            _check(upload, token, give_up_at=time.monotonic() + seconds)
        else:
            _draft(upload, token)
    except BadPrompt as error:
        _fail(upload, token, str(error))
    except Exception as error:
        _record_error(upload, token, error)
        raise
    finally:
        rows.release(pk, token)


def _check(upload: BatchUpload, token: str, *, give_up_at: float) -> None:
    report = CheckReport()
    told = time.monotonic()
    with upload.open() as file:
        for row in _request_file(upload, file).rows():
            report.add_row(row)
            if report.is_full:
                break
            if time.monotonic() > give_up_at:
                upload.record(_ours(token), failures=F("failures") - 1)
                return
            if time.monotonic() - told > PROGRESS_SECONDS:
                told = time.monotonic()
                if not _record_progress(upload, token, report, file.tell()):
                    return
    upload.record(_ours(token), state=UploadState.READY, next_action_at=None, **_report_columns(report))


def _report_columns(report: CheckReport) -> dict[str, Any]:
    return {
        "checked_at": DatabaseNow(),
        "bytes_read": F("bytes"),
        "row_count": report.rows,
        "request_count": report.requests,
        "body_bytes": report.bytes,
        "expected_usage": report.expected.stored(),
        "bad_count": report.bad_count,
        "bad_rows": report.bad_rows,
        "samples": report.samples,
        "is_full": report.is_full,
        "last_error": "",
        "failures": 0,
    }


def _record_progress(upload: BatchUpload, token: str, report: CheckReport, position: int) -> bool:
    """Note how far the check is, which is a heartbeat too; False: somebody else may be at it."""
    rows = BatchUpload.objects.primary()
    held = rows.leased_by(upload.pk, token)
    return rows.renew(upload.pk, token) and bool(
        held.update(bytes_read=position, row_count=report.rows, bad_count=report.bad_count)
    )


def _draft(upload: BatchUpload, token: str) -> None:
    with upload.open() as file:
        requests = _request_file(upload, file)
        try:
            _store(upload, token, requests)
        except BadRow as error:
            problem = str(error)
        except InvalidRequest as error:
            problem = requests.explain(error)
        except _Overtaken:
            return
        else:
            return
    _fail(upload, token, f"{problem}.")


def _store(upload: BatchUpload, token: str, requests: RequestFile) -> None:
    rows = BatchUpload.objects.primary()
    with transaction.atomic(using=rows.db):
        # Heartbeat, fence and row lock in one: who comes when the lease is over waits for the commit.
        if not rows.renew(upload.pk, token, DRAFT_LEASE):
            raise _Overtaken
        batch = MessageBatch.objects.create_draft(
            requests,
            kind=upload.kind,
            label=upload.label or upload.name,
            account=upload.account,
            created_by=upload.created_by,
        )
        drafted: dict[str, Any] = {"state": UploadState.DRAFTED, "batch": batch, "next_action_at": None, "samples": []}
        if not upload.record(_ours(token), **drafted):
            raise _Overtaken
        upload.parts.using(rows.db).all().delete()


class _Overtaken(Exception):
    """Another process has the file: what was drafted here is rolled back."""


def _ours(token: str) -> BatchUploadQuerySet:
    """Match what we hold or held, if nobody took it since: whoever does writes another token."""
    return BatchUpload.objects.primary().filter(lease_token=token)


def _fail(upload: BatchUpload, token: str, problem: str) -> None:
    upload.record(_ours(token), state=UploadState.FAILED, next_action_at=None, last_error=problem)


def _record_error(upload: BatchUpload, token: str, error: Exception) -> None:
    """Write on the row what went wrong here, and come back later, a few times; the error goes on to the caller."""
    changes: dict[str, Any] = {"last_error": format_error(error)}
    if upload.failures < MAX_FAILURES:
        changes["next_action_at"] = now_plus(backoff(upload.failures - 1))
    else:
        changes |= {"state": UploadState.FAILED, "next_action_at": None}
    try:
        upload.record(_ours(token), **changes)
    except DatabaseError:
        logger.exception("File %s: its error could not be recorded.", upload.pk)
