"""Confirm, recheck or discard an uploaded file, and dispatch those that are due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db.models import Q

from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models import BatchUpload, UploadState
from django_claude_batches.models.event import user_name
from django_claude_batches.models.upload import CHANGEABLE, DISCARDABLE
from django_claude_batches.services.backoff import NO_DELAY


def dispatch_due_uploads(dispatch: Callable[[int], object], *, rest: timedelta = NO_DELAY) -> int:
    """Call `dispatch` with the primary key of each due file, and return their number; delete files after 7 days."""
    BatchUpload.objects.delete_stale()
    return len(BatchUpload.objects.dispatch_due(dispatch, rest))


def confirm_upload(upload: BatchUpload, *, by: Any = None) -> BatchUpload:
    """Confirm that the file is drafted as a batch; a repeat makes no second batch.

    Raise InvalidTransition if the check does not allow it. One whose drafting failed can be confirmed again. `by` is
    the user who creates the batch.
    """
    checked = Q(checked_at__isnull=False, request_count__gt=0, bad_count=0)
    changes: dict[str, Any] = {"confirmed_at": DatabaseNow(), "last_error": "", "failures": 0}
    if by is not None:
        changes |= {"created_by": by, "created_by_name": user_name(by)}
    allowed = [UploadState.READY, UploadState.FAILED]
    if upload.move(UploadState.CONFIRMED, allowed=allowed, where=checked, due=NO_DELAY, **changes):
        return upload
    if not BatchUpload.objects.primary().filter(pk=upload.pk).exists():
        raise InvalidTransition(f"Cannot draft {upload}: it was discarded.")
    if upload.state in {UploadState.CONFIRMED, UploadState.DRAFTED}:
        return upload
    raise InvalidTransition(
        f"Cannot draft {upload}, which is {UploadState(upload.state).label!s}: it can be done only to a file that was "
        "checked, has a request and has no bad row. Change its prompt, or correct the file and upload it again."
    )


def recheck_upload(upload: BatchUpload) -> BatchUpload:
    """Check a file again whose check failed; a repeat does nothing. Raise InvalidTransition for any other."""
    again: dict[str, Any] = {"where": Q(checked_at__isnull=True), "last_error": "", "failures": 0}
    moved = upload.move(UploadState.UNCHECKED, allowed=[UploadState.FAILED], due=NO_DELAY, **again)
    if moved or upload.state == UploadState.UNCHECKED:
        return upload
    raise InvalidTransition(f"Cannot check {upload} again, which is {UploadState(upload.state).label!s}.")


# What a check found: nothing of it is true of changed columns.
UNCHECKED: dict[str, Any] = {
    "checked_at": None,
    "confirmed_at": None,
    "last_error": "",
    "failures": 0,
    "bytes_read": 0,
    "row_count": 0,
    "request_count": 0,
    "body_bytes": 0,
    "bad_count": 0,
    "bad_rows": [],
    "samples": [],
    "is_full": False,
    "expected_usage": None,
}


def change_upload(upload: BatchUpload, **columns: Any) -> BatchUpload:
    """Change the columns of a file's draft, such as its prompt, and check the file again.

    Raise InvalidTransition while it is being checked or drafted, and when it was drafted.
    """
    if upload.move(UploadState.UNCHECKED, allowed=CHANGEABLE, due=NO_DELAY, **{**UNCHECKED, **columns}):
        return upload
    raise InvalidTransition(f"Cannot change {upload}, which is {UploadState(upload.state).label!s}.")


def discard_upload(upload: BatchUpload) -> None:
    """Delete the file; raise InvalidTransition if it is being or was drafted. A repeat does nothing."""
    rows = BatchUpload.objects.primary().filter(pk=upload.pk)
    rows.filter(state__in=DISCARDABLE).delete()
    if left := rows.first():
        raise InvalidTransition(f"Cannot discard {left}, which is {UploadState(left.state).label!s}.")
