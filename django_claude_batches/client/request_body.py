"""Write the body of a create call, and stream it once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import IO, Any, BinaryIO

from django_claude_batches.client.deadline import Pace
from django_claude_batches.exceptions import InvalidRequest, LimitExceeded, SendDeadlinePassed
from django_claude_batches.wire import CUSTOM_ID_PATTERN, MAX_BODY_BYTES, MAX_REQUESTS

BLOCK_BYTES = 64 * 1024


def write_body(requests: Iterable[Mapping[str, Any]], file: BinaryIO) -> int:
    """Write `{"requests":[…]}` as compact UTF-8 and return its size in bytes.

    Reads the requests one by one; only their ids stay in memory. Raise `InvalidRequest` for what the API would refuse
    at once (docs/reference/wire.md §6) or what cannot be sent at all, `LimitExceeded` for too many requests or bytes.
    """
    seen: set[str] = set()
    size = file.write(b'{"requests":[')
    for position, request in enumerate(requests):
        if position == MAX_REQUESTS:
            raise LimitExceeded(f"a batch holds at most {MAX_REQUESTS:,} requests")
        custom_id = _checked_id(request, position, seen)
        size += file.write(b"," if position else b"")
        size += file.write(_encoded(custom_id, request["params"], position))
        if size + 2 > MAX_BODY_BYTES:
            raise LimitExceeded(f"a batch holds at most {MAX_BODY_BYTES:,} bytes of JSON", position=position)
    if not seen:
        raise InvalidRequest("a batch needs at least one request")
    return size + file.write(b"]}")


def _checked_id(request: Mapping[str, Any], position: int, seen: set[str]) -> str:
    custom_id = request.get("custom_id")
    if set(request) != {"custom_id", "params"} or not isinstance(request["params"], Mapping):
        raise InvalidRequest(
            f"a request has the keys custom_id and params (an object) and no other, not {sorted(map(str, request))}",
            position=position,
        )
    if not isinstance(custom_id, str) or not CUSTOM_ID_PATTERN.fullmatch(custom_id):
        raise InvalidRequest(f"custom_id {custom_id!r:.80} is not 1 to 64 of a-z A-Z 0-9 _ -", position=position)
    if custom_id in seen:
        raise InvalidRequest("custom_id occurs twice in the batch", position=position, custom_id=custom_id)
    seen.add(custom_id)
    return custom_id


def _encoded(custom_id: str, params: Mapping[str, Any], position: int) -> bytes:
    request = {"custom_id": custom_id, "params": dict(params)}
    try:
        # Not \u escapes: they make non-Latin text two to three times as long (docs/reference/wire.md §11.20).
        return json.dumps(request, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        reason = "params hold half of a surrogate pair, which UTF-8 cannot carry"
    except (TypeError, ValueError, RecursionError) as error:
        reason = f"params are not JSON: {error}"
    raise InvalidRequest(reason, position=position, custom_id=custom_id)


class BodyReadError(Exception):
    """`Upload.read` failed. Neither an OSError nor a requests error, so that urllib3 does not catch it."""


class Upload:
    """A file of known size that requests sends with `Content-Length`, and that knows whether sending began.

    `started` is proof: until the first block is read, no complete request was sent.
    """

    def __init__(self, body: BinaryIO, size: int, pace: Pace) -> None:
        self._body = body
        self._pace = pace
        self._left = self._size = size
        self.started = False

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        # requests streams only iterables, and then urllib3 calls `read`.
        return iter(lambda: self.read(BLOCK_BYTES), b"")

    def read(self, amount: int = BLOCK_BYTES) -> bytes:
        """Return the next block, empty after `size` bytes: then all bytes were sent, and `body.read` is not called."""
        self.started = True
        if not self._left:
            return b""
        if self._pace.exceeded:
            raise BodyReadError(self._pace.exceeded)
        if self._pace.on_wait is not None:
            self._pace.on_wait()
        block = self._block(min(amount, self._left) if amount > 0 else self._left)
        if not block:
            raise BodyReadError(f"the body ended {self._left:,} bytes before its announced size of {self._size:,}")
        self._left -= len(block)
        return block

    def _block(self, amount: int) -> bytes:
        try:
            return self._body.read(amount)
        except Exception as error:  # noqa: BLE001 (any error of the caller's body ends the sending)
            reason = f"the body could not be read: {type(error).__name__}: {error}"
        raise BodyReadError(reason)


class DeadlineReader:
    """A file whose `read` raises once the deadline has passed.

    By both clocks: the wall clock also runs while the machine is suspended, and the monotonic one is not set back. So a
    process that was suspended while sending cannot finish hours later, when its batch is no longer searched for.
    """

    def __init__(self, file: IO[bytes], deadline: timedelta) -> None:
        self._file = file
        self._deadline = deadline
        self._wall, self._monotonic = time.time(), time.monotonic()

    def read(self, size: int = -1) -> bytes:
        elapsed = max(time.time() - self._wall, time.monotonic() - self._monotonic)
        if elapsed > self._deadline.total_seconds():
            raise SendDeadlinePassed(f"The body was not sent within {self._deadline}: sending was broken off.")
        return self._file.read(size)
