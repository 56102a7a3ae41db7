"""A transport whose calls are made inside a context manager of the caller's, which learns how they went."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from django_claude_batches.client.result_body import Stream
from django_claude_batches.client.transport import Reply, Transport


class ObservedTransport(Transport):
    """Makes each call, retries included, inside `around()`. Of a stream that is its opening, and then its reading."""

    def __init__(self, *, around: Callable[[], AbstractContextManager[object]], **options: Any) -> None:
        super().__init__(**options)
        self._around = around

    def request(self, *args: Any, **options: Any) -> Reply[Any]:
        with self._around():
            return super().request(*args, **options)

    def delete(self, path: str) -> Reply[Any] | None:
        with self._around():
            return super().delete(path)

    def post_once(self, *args: Any, **options: Any) -> Reply[Any]:
        with self._around():
            return super().post_once(*args, **options)

    @contextmanager
    def stream(self, *args: Any, **options: Any) -> Iterator[Stream]:
        with self._around(), super().stream(*args, **options) as stream:
            yield stream

    def _pieces(self, *args: Any) -> Iterator[bytes]:
        with self._around():  # here, since a caller may catch the error of a stream before it is closed
            yield from super()._pieces(*args)
