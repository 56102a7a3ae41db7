"""A file as rows: each a piece that any database takes in one statement."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

from django.db import models

from django_claude_batches.db.leases import PrimaryQuerySet

PART_BYTES = 1_000_000


class UploadPartQuerySet(PrimaryQuerySet["UploadPart"]):
    """No more than any of ours."""


class UploadPart(models.Model):
    upload = models.ForeignKey("BatchUpload", on_delete=models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    objects = UploadPartQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["upload", "number"], name="dcb_upload_part")]

    def __str__(self) -> str:
        return f"{self.upload_id}/{self.number}"


def in_parts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Give the same bytes in pieces of a million."""
    gathered = bytearray()
    for chunk in chunks:
        gathered += chunk
        while len(gathered) >= PART_BYTES:
            yield bytes(gathered[:PART_BYTES])
            del gathered[:PART_BYTES]
    if gathered:
        yield bytes(gathered)


class PartReader(io.RawIOBase):
    """The bytes of a file, asked for part by part."""

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
