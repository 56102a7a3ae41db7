"""A file of requests in the API's own format: one `{"custom_id": …, "params": …}` a line."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from typing import Any, BinaryIO

from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.wire import MAX_BODY_BYTES


class BadLine(ValueError):
    """A line that is no request; the text names it."""


class RequestLines:
    """The requests of a file, one after the other, in constant memory; blank lines are counted and skipped.

    Iterating raises BadLine for a line that is not UTF-8 or not a JSON object.
    """

    def __init__(self, file: BinaryIO, *, name: str) -> None:
        self.name = name
        self._file = file
        self._numbers = array("L")

    def __iter__(self) -> Iterator[Any]:
        number = 0
        # A line longer than a whole batch may be is not read to its end: it might not fit into memory.
        while data := self._file.readline(MAX_BODY_BYTES + 2):
            number += 1
            if number == 1:
                data = data.removeprefix(b"\xef\xbb\xbf")  # the mark that some editors put before UTF-8
            if data.isspace() or not data:
                continue
            self._numbers.append(number)
            yield self._request(data, number)

    def explain(self, error: InvalidRequest) -> str:
        """Say what `create_draft` refused, by line where it is about one."""
        if error.position is None or error.position >= len(self._numbers):
            return f"{self.name}: {error.reason}"
        named = "" if error.custom_id is None else f" (custom_id {error.custom_id!r:.80})"
        return f"{self.name}, line {self._numbers[error.position]}{named}: {error.reason}"

    def _request(self, data: bytes, number: int) -> Any:
        if len(data) > MAX_BODY_BYTES:
            raise self._bad(number, f"it has more than {MAX_BODY_BYTES:,} bytes, which is all that a batch may have")
        try:
            item = json.loads(data.rstrip().decode(), object_pairs_hook=_object)
        except UnicodeDecodeError as error:
            raise self._bad(number, f"not UTF-8: byte 0x{data[error.start]:02x} at {error.start + 1}") from None
        except json.JSONDecodeError as error:
            raise self._bad(number, f"not JSON: {error.msg} at character {error.pos + 1}") from None
        except (ValueError, RecursionError) as error:
            raise self._bad(number, f"not JSON that can be read: {error}") from None
        if not isinstance(item, dict):
            raise self._bad(number, 'not a JSON object like {"custom_id": "…", "params": {…}}')
        return item

    def _bad(self, number: int, reason: str) -> BadLine:
        return BadLine(f"{self.name}, line {number}: {reason}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that stands twice: Python would take the last value and send a request that nobody wrote."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [key for key, _value in pairs]
        repeated = next(key for key in made if names.count(key) > 1)
        raise ValueError(f"the key {repeated!r:.80} stands twice in one object")
    return made
