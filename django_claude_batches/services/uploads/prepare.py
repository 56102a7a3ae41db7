"""Check an uploaded file, and draft it as a batch once it is confirmed.

The file is leased while it is worked on. Storing the draft and marking the file as drafted is one transaction.
"""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import Any, BinaryIO

from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models import F, Q

from django_claude_batches.db.leases import DatabaseNow, now_plus
from django_claude_batches.error_text import format_error
from django_claude_batches.exceptions import InvalidRequest, LeaseLost
from django_claude_batches.models import BatchUpload, MessageBatch, UploadState
from django_claude_batches.models.upload import ALWAYS_DUE
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

# Enough to draft any file: a renewal inside the transaction is not visible to others.
DRAFT_LEASE = timedelta(minutes=10)

# Seconds between two records of a check's progress.
PROGRESS_SECONDS = 1.0

# Consecutive failed attempts before the file is stopped and reported. An attempt is counted when it begins: a killed
# process could not count it.
MAX_FAILURES = 5

TOO_MANY_FAILURES = (
    "{} attempts in a row failed or were killed. The machine may have too little memory for this file: look at the "
    "workers' logs. {}"
)


def prepare(upload: BatchUpload, *, seconds: float = math.inf) -> BatchUpload:
    """Do what is due for the file now, in this process: check it, or draft it. Nothing is sent.

    A check that takes more than `seconds` is left to a worker, which restarts it. Errors in the file are recorded on
    it; local errors are raised and retried later. If another process has leased the file, nothing is done.
    """
    _work(upload.pk, only_due=False, seconds=seconds)
    upload.read_again()
    return upload


def prepare_if_due(pk: int) -> None:
    """Do the same for the file with this primary key, if it is due. For tasks: a repeat does nothing."""
    _work(pk, only_due=True)


def _request_file(upload: BatchUpload, file: BinaryIO) -> RequestFile:
    """Return the file's requests; raise BadPrompt without a prompt."""
    question = None
    if upload.prompt:
        question = Question(
            prompt=Prompt(upload.prompt),
            model=upload.model,
            max_tokens=upload.max_tokens or DEFAULT_MAX_TOKENS,
            system=upload.system,
            schema=read_schema(upload.schema) if upload.schema else None,
            delimiter=upload.delimiter,
            name_by=upload.name_by,
            keep_cells=upload.keep_cells,
        )
    return RequestFile(file, name=upload.name, question=question)


def _work(pk: int, *, only_due: bool, seconds: float = math.inf) -> None:
    rows = BatchUpload.objects.primary()
    waiting = rows.filter(state__in=ALWAYS_DUE)
    waiting = waiting.due() if only_due else waiting
    with waiting.lease(pk, DRAFT_LEASE, failures=F("failures") + 1, dispatched_at=None) as token:
        upload = rows.filter(pk=pk).first()
        if token is None or upload is None:  # discarded since
            return
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


def _check(upload: BatchUpload, token: str, *, give_up_at: float) -> None:
    report = CheckReport()
    told = time.monotonic()
    with upload.open() as file:
        for row in _request_file(upload, file).rows():
            report.add_row(row)
            if report.is_full:
                break
            if time.monotonic() > give_up_at:
                upload.change(_ours(token), failures=F("failures") - 1)
                return
            if time.monotonic() - told > PROGRESS_SECONDS:
                told = time.monotonic()
                if not _record_progress(upload, token, report, file.tell()):
                    return
    upload.change(
        _ours(token),
        state=UploadState.READY,
        next_action_at=None,
        checked_at=DatabaseNow(),
        bytes_read=F("bytes"),
        row_count=report.rows,
        request_count=report.requests,
        body_bytes=report.bytes,
        expected_usage=report.expected.stored(),
        bad_count=report.bad_count,
        bad_rows=report.bad_rows,
        samples=report.samples,
        is_full=report.is_full,
        last_error="",
        failures=0,
    )


def _record_progress(upload: BatchUpload, token: str, report: CheckReport, position: int) -> bool:
    """Record the check's progress, which renews the lease; return False if the lease may be lost."""
    rows = BatchUpload.objects.primary()
    held = rows.leased_by(upload.pk, token)
    return rows.renew(upload.pk, token) and bool(
        held.update(bytes_read=position, row_count=report.rows, bad_count=report.bad_count)
    )


def _draft(upload: BatchUpload, token: str) -> None:
    with upload.open() as file:
        requests = _request_file(upload, file)
        problem = ""
        try:
            _store(upload, token, requests)
        except BadRow as error:
            problem = str(error)
        except InvalidRequest as error:
            problem = requests.explain(error)
        except LeaseLost:
            pass  # another process has the file now; the draft is rolled back
    if problem:
        _fail(upload, token, f"{problem}.")


def _store(upload: BatchUpload, token: str, requests: RequestFile) -> None:
    rows = BatchUpload.objects.primary()
    with transaction.atomic(using=rows.db):
        # Renewing also locks the row: a worker that comes after the lease expired blocks until this commits.
        if not rows.renew(upload.pk, token, DRAFT_LEASE):
            raise LeaseLost(f"The lease on file {upload.pk} is lost.")
        batch = MessageBatch.objects.create_draft(
            requests,
            kind=upload.kind,
            label=upload.label or upload.name,
            account=upload.account,
            created_by=upload.created_by,
            cells_header=requests.header,
        )
        drafted: dict[str, Any] = {"state": UploadState.DRAFTED, "batch": batch, "next_action_at": None, "samples": []}
        if not upload.change(_ours(token), **drafted):
            raise LeaseLost(f"The lease on file {upload.pk} is lost.")
        upload.parts.using(rows.db).all().delete()


def _ours(token: str) -> Q:
    """Match the row while no other process has leased it since, also if this lease expired."""
    return Q(lease_token=token)


def _fail(upload: BatchUpload, token: str, problem: str) -> None:
    upload.change(_ours(token), state=UploadState.FAILED, next_action_at=None, last_error=problem)


def _record_error(upload: BatchUpload, token: str, error: Exception) -> None:
    """Record a local error on the row and reschedule it a few times; the error is then raised to the caller."""
    changes: dict[str, Any] = {"last_error": format_error(error)}
    if upload.failures < MAX_FAILURES:
        changes["next_action_at"] = now_plus(backoff(upload.failures - 1))
    else:
        changes |= {"state": UploadState.FAILED, "next_action_at": None}
    try:
        upload.change(_ours(token), **changes)
    except DatabaseError:
        logger.exception("File %s: its error could not be recorded.", upload.pk)
