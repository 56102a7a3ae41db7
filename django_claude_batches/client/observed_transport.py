"""A transport that makes each call inside a context manager given by the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from django_claude_batches.client.result_body import Stream
from django_claude_batches.client.transport import Reply, Transport


class ObservedTransport(Transport):
    """Make each call, retries included, inside `around()`. For a stream: its opening, and then its reading."""

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
        with self._around():  # inside, since a caller may catch the error of a stream before it is closed
            yield from super()._pieces(*args)
