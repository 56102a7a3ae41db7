"""Uploaded files of requests, which are checked, confirmed by a person and drafted."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_claude_batches.db.dispatch import DispatchableQuerySet
from django_claude_batches.db.leases import DatabaseNow, PrimaryQuerySet, is_free, now_plus
from django_claude_batches.models.event import user_name
from django_claude_batches.models.expected_usage import ExpectedUsageColumns
from django_claude_batches.models.fields import IdentifierField, IdentifierSlugField
from django_claude_batches.models.work_item import WorkItem
from django_claude_batches.wire import MAX_BODY_BYTES

PART_BYTES = 1_000_000


class UploadPart(models.Model):
    upload = models.ForeignKey("BatchUpload", on_delete=models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    objects = PrimaryQuerySet["UploadPart"].as_manager()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["upload", "number"], name="dcb_upload_part")]

    def __str__(self) -> str:
        return f"{self.upload_id}/{self.number}"


def in_parts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in parts of 1 MB; the last part may be shorter."""
    gathered = bytearray()
    for chunk in chunks:
        gathered += chunk
        while len(gathered) >= PART_BYTES:
            yield bytes(gathered[:PART_BYTES])
            del gathered[:PART_BYTES]
    if gathered:
        yield bytes(gathered)


class PartReader(io.RawIOBase):
    """Read the bytes of an uploaded file, part by part."""

    def __init__(self, upload_id: int) -> None:
        self._parts = UploadPart.objects.primary().filter(upload=upload_id)
        self._next = self._position = 0
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            data = self._parts.filter(number=self._next).values_list("data", flat=True).first()
            self._next += 1
            self._left = memoryview(data or b"")
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        self._position += count
        return count


# Maximum bytes of an uploaded file. A table may be larger than its batch, since a prompt need not use every column.
MAX_UPLOAD_BYTES = 2 * MAX_BODY_BYTES

# How long a file that is not drafted is kept. The transaction that drafts a file deletes it.
UPLOAD_RETENTION = timedelta(days=7)


class UploadState(models.TextChoices):
    """The state of an uploaded file."""

    UNCHECKED = "unchecked", _("Being checked")
    READY = "ready", _("Checked")
    CONFIRMED = "confirmed", _("Being drafted")
    DRAFTED = "drafted", _("Drafted")
    FAILED = "failed", _("Failed")


# States in which a worker processes the file.
ALWAYS_DUE = (UploadState.UNCHECKED, UploadState.CONFIRMED)

# States in which the prompt can be changed.
CHANGEABLE = (UploadState.READY, UploadState.FAILED)

DISCARDABLE = (UploadState.UNCHECKED, UploadState.READY, UploadState.FAILED)


class BatchUploadQuerySet(DispatchableQuerySet["BatchUpload"]):
    def store(
        self, chunks: Iterable[bytes], *, created_by: Any = None, problem: str = "", **columns: Any
    ) -> BatchUpload:
        """Store a file and the columns of its draft, in one transaction and constant memory. A worker checks it next.

        With a `problem`, such as an invalid column, the file is stored as failed, and checked only after a change.
        """
        db = self.primary().db
        with transaction.atomic(using=db):
            upload = self.using(db).create(
                **columns, created_by=created_by, created_by_name=user_name(created_by), next_action_at=timezone.now()
            )
            for number, data in enumerate(in_parts(chunks)):
                upload.bytes += len(data)
                UploadPart.objects.using(db).create(upload=upload, number=number, data=data)
            checked: dict[str, Any] = {"next_action_at": DatabaseNow()}
            kept: dict[str, Any] = {"state": UploadState.FAILED, "next_action_at": None, "last_error": problem}
            self.using(db).filter(pk=upload.pk).update(bytes=upload.bytes, **(kept if problem else checked))
        if problem:
            upload.read_again()
        return upload

    def waiting(self) -> Self:
        """Match files that are not drafted."""
        return self.exclude(state=UploadState.DRAFTED)

    def delete_stale(self, kept: timedelta = UPLOAD_RETENTION) -> None:
        """Delete files older than `kept` that are neither confirmed nor leased by a worker, each in a transaction."""
        rows = self.primary().filter(is_free(), created_at__lt=now_plus(-kept)).exclude(state=UploadState.CONFIRMED)
        for pk in list(rows.values_list("pk", flat=True)):
            with transaction.atomic(using=rows.db):
                if rows.acquire(pk):  # locks the row, so that a file that is being confirmed is not deleted
                    self.primary().filter(pk=pk).delete()


class BatchUpload(WorkItem, ExpectedUsageColumns):
    """An uploaded file: it is checked, confirmed by a person, drafted and deleted.

    The file is stored in the database, not in a file storage: a worker on another machine can read it, prompts are
    never in MEDIA_ROOT (which is often public, or not set), and one transaction drafts the file and deletes it.

    `failures` is incremented when an attempt begins, because a process that is killed cannot count its failure.
    """

    state = models.CharField(_("state"), max_length=20, choices=UploadState.choices, default=UploadState.UNCHECKED)
    name = models.CharField(_("file"), max_length=200, help_text=_("The name of the file that was uploaded."))
    bytes = models.PositiveBigIntegerField(_("bytes"), default=0)
    prompt = models.TextField(
        _("prompt"), blank=True, help_text=_("Empty if the file has one request per line instead of a table.")
    )
    model = IdentifierField(_("model"), max_length=100, blank=True)
    max_tokens = models.PositiveIntegerField(_("max tokens"), null=True, blank=True)
    system = models.TextField(_("system prompt"), blank=True)
    schema = models.TextField(_("output schema"), blank=True)
    delimiter = models.CharField(_("delimiter"), max_length=20, blank=True)
    name_by = models.CharField(_("name the requests by column"), max_length=200, blank=True)
    keep_cells = models.BooleanField(_("keep the columns for the export"), default=True)
    kind = IdentifierSlugField(_("kind"), max_length=100, blank=True)
    label = models.CharField(_("label"), max_length=200, blank=True)
    account = IdentifierField(_("account"), max_length=64, default="default")
    created_at = models.DateTimeField(_("uploaded at"), default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_by_name = models.CharField(_("uploaded by"), max_length=150, blank=True)
    bytes_read = models.PositiveBigIntegerField(
        default=0, editable=False, help_text=_("How much of the file the check has read.")
    )
    row_count = models.PositiveIntegerField(_("rows"), default=0)
    request_count = models.PositiveIntegerField(_("requests"), default=0)
    body_bytes = models.PositiveBigIntegerField(_("bytes of the batch"), default=0)
    bad_count = models.PositiveIntegerField(_("bad rows"), default=0)
    bad_rows = models.JSONField(_("first bad rows"), default=list, blank=True)
    samples = models.JSONField(_("first requests"), default=list, blank=True)
    is_full = models.BooleanField(
        default=False, help_text=_("The check ended at a row that exceeded what a batch may hold.")
    )
    checked_at = models.DateTimeField(_("checked at"), null=True, blank=True)
    confirmed_at = models.DateTimeField(_("confirmed at"), null=True, blank=True)
    batch = models.ForeignKey(
        "MessageBatch", on_delete=models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("batch")
    )

    objects = BatchUploadQuerySet.as_manager()

    class Meta:
        verbose_name = _("file to be drafted")
        verbose_name_plural = _("files to be drafted")
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=Q(state__in=UploadState.values), name="dcb_upload_state"),
            models.CheckConstraint(
                condition=Q(next_action_at__isnull=False) | ~Q(state__in=[str(state) for state in ALWAYS_DUE]),
                name="dcb_upload_due",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_moving(self) -> bool:
        """Return whether a worker checks or drafts the file."""
        return self.state in ALWAYS_DUE

    @property
    def is_draftable(self) -> bool:
        """Return whether the check found requests and no bad row."""
        return self.checked_at is not None and self.request_count > 0 and self.bad_count == 0

    def open(self) -> io.BufferedReader:
        """Return a reader of the file, which reads it once, from the beginning, with 1 MB in memory."""
        return io.BufferedReader(PartReader(self.pk))

    def read_again(self) -> None:
        with contextlib.suppress(BatchUpload.DoesNotExist):  # it may be discarded at any time
            super().read_again()
