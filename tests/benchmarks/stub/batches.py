"""The stub's batches, their bodies, and their results as prepared bytes."""

from __future__ import annotations

import os
import re
import threading
import time
import zlib
from collections import Counter
from typing import Any

from tests.benchmarks.stub import lines

CUSTOM_ID = re.compile(rb'"custom_id":\s*"([a-zA-Z0-9_-]{1,64})"')
CHUNK = 16_384
OUTCOMES = ("processing", "succeeded", "errored", "canceled", "expired")


class Batch:
    """A batch, in progress until `finish`."""

    def __init__(self, id: str, count: int, url: str, body: bytes = b"") -> None:
        self.id, self.count, self.url, self.body = id, count, url, body
        self.created_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.counts: Counter[str] = Counter(processing=count)
        self.identity = b""
        self.gzip: bytes | None = None

    @property
    def has_ended(self) -> bool:
        return bool(self.identity)

    def finish(self, *, gzip: bool = False, large_mb: int = 0, custom_ids: list[bytes] | None = None) -> None:
        """Build the results, with the custom_ids of the posted body, including their tag."""
        ids = custom_ids or [match.group(1) for match in CUSTOM_ID.finditer(self.body)]
        self.body = b""
        data, self.counts = lines.build(ids, large_mb=large_mb)
        if gzip:
            compressor = zlib.compressobj(6, zlib.DEFLATED, 31)
            self.gzip = framed(compressor.compress(data) + compressor.flush())
        self.identity = framed(data)

    def as_json(self) -> dict[str, Any]:
        ended = self.has_ended
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": {name: self.counts[name] for name in OUTCOMES},
            "created_at": self.created_at,
            "expires_at": "2099-12-31T00:00:00Z",
            "ended_at": self.created_at if ended else None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": f"{self.url}/v1/messages/batches/{self.id}/results" if ended else None,
        }


class Batches:
    def __init__(self, url: str, in_flight: int = 0) -> None:
        self.url = url
        self.all: dict[str, Batch] = {}
        self._lock = threading.Lock()
        self._made = 0
        for number in range(in_flight):
            self._keep(Batch(f"msgbatch_flying_{number:06d}", 1000, url))

    def create(self, body: bytes) -> Batch | None:
        """Store a posted body; return None unless it has 1 to 100,000 requests."""
        count = body.count(b'"custom_id"')
        if not 0 < count <= 100_000:
            return None
        return self._keep(Batch(self._next_id(), count, self.url, body))

    def seed(self, count: int, *, gzip: bool) -> Batch:
        """Make a batch that has ended, with the custom_ids item-0, item-1 and so on."""
        batch = Batch(self._next_id(), count, self.url)
        batch.finish(gzip=gzip, custom_ids=[b"item-%d" % number for number in range(count)])
        return self._keep(batch)

    def page(self, limit: int, after_id: str | None) -> dict[str, Any]:
        ids = list(reversed(self.all))
        ids = ids[ids.index(after_id) + 1 :] if after_id in self.all else ids
        page = ids[:limit]
        return {
            "data": [self.all[key].as_json() for key in page],
            "has_more": len(ids) > limit,
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
        }

    def _next_id(self) -> str:
        with self._lock:
            self._made += 1
            return f"msgbatch_{os.getpid()}_{self._made:06d}"

    def _keep(self, batch: Batch) -> Batch:
        self.all[batch.id] = batch
        return batch


def framed(data: bytes) -> bytes:
    """Return the data in chunked transfer encoding."""
    view, parts = memoryview(data), []
    for start in range(0, len(data), CHUNK):
        chunk = view[start : start + CHUNK]
        parts += (b"%x\r\n" % len(chunk), chunk, b"\r\n")
    return b"".join([*parts, b"0\r\n\r\n"])
