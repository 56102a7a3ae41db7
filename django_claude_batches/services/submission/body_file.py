"""Write the body of a create call to a temporary file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from django_claude_batches.drafting.body import ENVELOPE, request_prefix
from django_claude_batches.models import MessageBatch, bulk


@dataclass(frozen=True, slots=True)
class BodyDigest:
    size: int
    sha256: str


def write_body_file(
    file: IO[bytes], batch: MessageBatch, tag: str, *, using: str, progress: Callable[[], object]
) -> BodyDigest:
    """Write the batch's body and rewind; each custom_id contains the tag. JSON is neither decoded nor encoded.

    `progress` is called after each request.
    """
    digest, size = hashlib.sha256(), 0
    start, comma, end = ENVELOPE

    def put(piece: bytes) -> None:
        nonlocal size
        file.write(piece)
        digest.update(piece)
        size += len(piece)

    put(start)
    requests = batch.requests.using(using).values_list("custom_id", "params_text")
    for index, (custom_id, params) in enumerate(bulk.in_order(requests)):
        separator = comma if index else b""
        put(separator + request_prefix(custom_id, tag) + params.encode() + b"}")
        progress()
    put(end)
    file.flush()
    file.seek(0)
    return BodyDigest(size, digest.hexdigest())
