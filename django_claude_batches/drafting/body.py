"""Compute the size of a create call's body as it will be sent, and enforce the limits of one batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django_claude_batches import wire
from django_claude_batches.drafting.request import TAG_LENGTH, Prepared
from django_claude_batches.estimates import ExpectedUsage
from django_claude_batches.exceptions import LimitExceeded

# The bytes before, between and after the requests in the body of a create call.
ENVELOPE = (b'{"requests":[', b",", b"]}")


def request_prefix(custom_id: str, tag: str) -> bytes:
    """Return the bytes before a request's params in the body."""
    return f'{{"custom_id":"{tag}_{custom_id}","params":'.encode()


def wire_bytes(request: Prepared) -> int:
    """Return the bytes of a request in the body, including the tag and braces, without the comma."""
    return len(request_prefix(request.custom_id, "x" * TAG_LENGTH)) + request.params_bytes + 1


class BodySize:
    """Count the requests, bytes and expected usage of a batch as requests are added, up to its limits."""

    def __init__(self) -> None:
        self.requests = 0
        self.bytes = len(ENVELOPE[0]) + len(ENVELOPE[2])
        self.expected = ExpectedUsage()

    @classmethod
    def resumed(cls, requests: int, size: int, expected: Iterable[Mapping[str, Any]] | None) -> BodySize:
        """Return a counter that continues from a batch's number of requests, body bytes and expected usage."""
        tally = cls()
        if requests:
            tally.requests, tally.bytes, tally.expected = requests, size, ExpectedUsage(expected or ())
        return tally

    def has_room(self, request: Prepared, *, most: int, most_bytes: int) -> bool:
        """Return whether the request fits within these limits.

        The first one always does: no other batch has more room.
        """
        size = self.bytes + wire_bytes(request) + len(ENVELOPE[1])
        return not self.requests or (self.requests < most and size <= most_bytes)

    def add(self, request: Prepared) -> Prepared:
        """Count the request and return it. Raise LimitExceeded, with its custom_id, if it exceeds a limit."""
        self.bytes += wire_bytes(request) + (len(ENVELOPE[1]) if self.requests else 0)
        self.requests += 1
        if self.requests > wire.MAX_REQUESTS:
            raise self._exceeded(request, f"a batch holds at most {wire.MAX_REQUESTS:,} requests")
        if self.bytes > wire.MAX_BODY_BYTES:
            raise self._exceeded(
                request,
                f"the body would have {self.bytes:,} bytes with this request, and a batch may have at most "
                f"{wire.MAX_BODY_BYTES:,}",
            )
        self.expected.add(request)
        if request.warnings:
            self.expected.warn(request.warnings, request.custom_id)
        return request

    @staticmethod
    def _exceeded(request: Prepared, reason: str) -> LimitExceeded:
        text = f"{reason}: put the rest into another batch"
        return LimitExceeded(text, position=request.position, custom_id=request.custom_id)
