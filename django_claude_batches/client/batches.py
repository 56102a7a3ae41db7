"""The API's verbs: one method each, the wire's objects in and out."""

# ruff: noqa: A002 (`id` is the API's word)

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, Literal, TypeVar, cast

from django_claude_batches.client import shapes
from django_claude_batches.client.arguments import PATH, beta_header, checked_id, header, path_of, problem_with_key
from django_claude_batches.client.body import write_body
from django_claude_batches.client.connecting import AUTH_HEADERS, KeyAuth, Timeout
from django_claude_batches.client.jsonl import MAX_LINE_BYTES, Line, split_lines
from django_claude_batches.client.parsing import parsed
from django_claude_batches.client.polling import poll_until_ended
from django_claude_batches.client.result_body import ResultBody
from django_claude_batches.client.transport import Reply
from django_claude_batches.client.watching import WatchedTransport
from django_claude_batches.exceptions import APIUnreachable, InvalidRequest, ServerFault
from django_claude_batches.wire import (
    MAX_BODY_BYTES,
    MAX_PAGE,
    DeletedMessageBatch,
    MessageBatch,
    Page,
    ResultLine,
)

SPOOL_BYTES = 1024 * 1024
"""Bytes of a create call that are kept in memory before the rest goes to a file."""

T = TypeVar("T")


class BatchesClient:
    """A client of Anthropic's Message Batches API for one key.

    Safe to share between threads and to keep across a fork. `timeout` is seconds to connect and seconds without a byte
    while reading; `max_retries` is for everything but create. `proxies` and `verify` are those of requests; without
    them `HTTPS_PROXY`, `NO_PROXY` and `REQUESTS_CA_BUNDLE` count (no proxy for loopback). `around` makes a context
    manager in which each call is made, with its retries: it sees the call's error, and may refuse the call with one.
    Arguments that cannot work raise ValueError.

    Every method may raise `APIError` (the API said no) and `APIUnreachable` (it said nothing); none raises an error of
    requests.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str = "https://api.anthropic.com",
        auth: Literal["bearer", "x-api-key"] = "bearer",
        anthropic_version: str = "2023-06-01",
        workspace_id: str | None = None,
        betas: Iterable[str] = (),
        timeout: Timeout = (10, 60),
        max_retries: int = 2,
        proxies: Mapping[str, str] | None = None,
        verify: bool | str = True,
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        problem = problem_with_key(api_key)
        if auth not in AUTH_HEADERS:
            problem = f"auth is one of {sorted(AUTH_HEADERS)}, not {auth!r}"
        key = None if problem else KeyAuth(api_key, auth)
        del api_key  # error reports print the locals of this frame
        if key is None:
            raise ValueError(problem)
        self._betas = tuple(betas)
        headers = header("anthropic-version", anthropic_version) | header("anthropic-workspace-id", workspace_id)
        self._transport = WatchedTransport(
            around=around,
            base_url=base_url,
            auth=key,
            headers=headers | beta_header(self._betas),
            timeout=timeout,
            max_retries=max_retries,
            proxies=proxies,
            verify=verify,
        )

    def __repr__(self) -> str:
        # An error report may show a client that could not be made.
        transport = getattr(self, "_transport", None)
        return f"<BatchesClient {transport.base_url if transport else 'not made'}>"

    def close(self) -> None:
        """Close this thread's connections."""
        self._transport.close()

    def create(
        self, requests: Iterable[Mapping[str, Any]], *, betas: Iterable[str] = (), user_profile_id: str | None = None
    ) -> MessageBatch:
        """Create a batch of `{"custom_id", "params"}`, taken one by one; the JSON waits in a temporary file.

        Sent once, as `create_from_file` does. Raises `InvalidRequest`, or `LimitExceeded`, before anything is sent.
        """
        with SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
            body = cast("BinaryIO", spool)
            size = write_body(requests, body)
            body.seek(0)
            return self.create_from_file(body, size=size, betas=betas, user_profile_id=user_profile_id)

    def create_from_file(
        self,
        body: BinaryIO,
        *,
        size: int,
        betas: Iterable[str] = (),
        user_profile_id: str | None = None,
        timeout: Timeout = (60, 600),
    ) -> MessageBatch:
        """Create a batch from the JSON of the whole call; see `send`, of whose reply this is the data."""
        return self.send(body, size=size, betas=betas, user_profile_id=user_profile_id, timeout=timeout).data

    def send(
        self,
        body: BinaryIO,
        *,
        size: int,
        betas: Iterable[str] = (),
        user_profile_id: str | None = None,
        timeout: Timeout = (60, 600),
    ) -> Reply[MessageBatch]:
        """Post `size` bytes of `body` (`{"requests":[…]}`, UTF-8) once, and never again: there is no idempotency key.

        `APIUnreachable(sent=False)`: not a byte of the body was asked for, so no batch can have been made.
        `APIUnreachable(sent=True)`: there may be one. That is every other loss, any 2xx answer that isn't a batch with
        an id, and any exception of `body.read()` (its words are in the message), which is how a caller can put a
        deadline on the sending; `read` is not called again once all bytes are out. Other answers raise as `APIError`;
        of those a 5xx, 408 or 409 leaves it open, too, whether there is a batch.

        The connect timeout also holds for each piece sent (urllib3 leaves it on the socket), hence its 60 s.
        """
        if not 0 < size <= MAX_BODY_BYTES:
            raise InvalidRequest(f"a create call has 1 to {MAX_BODY_BYTES:,} bytes, not {size:,}")
        headers = header("anthropic-user-profile-id", user_profile_id) | beta_header((*self._betas, *betas))
        reply = self._transport.post_once(PATH, body, size=size, headers=headers, timeout=timeout)
        batch = shapes.message_batch(reply.data)
        if batch is None:
            words = f"The answer to create is not a batch: {_excerpt(reply.data)}"
            raise APIUnreachable(f"{words} (request id {reply.request_id})", sent=True)
        return replace(reply, data=batch)

    def retrieve(self, id: str) -> MessageBatch:
        """Return the batch as it is now."""
        return self._retrieve(path_of(id)).data

    def cancel(self, id: str) -> MessageBatch:
        """Ask for cancellation, which takes a while; requests already running finish. A repeat is harmless."""
        return _read(shapes.message_batch, self._transport.request("POST", path_of(id, "/cancel"))).data

    def delete(self, id: str) -> DeletedMessageBatch:
        """Delete a batch that has ended, with its results.

        A 404 after a try whose answer was lost is success: that try deleted it. A 404 at once is `RemoteNotFound`.
        """
        reply = self._transport.delete(path_of(id))
        if reply is None:
            return {"id": id, "type": "message_batch_deleted"}
        return _read(shapes.deleted, reply).data

    def list(self, *, limit: int = 20, after_id: str | None = None, before_id: str | None = None) -> Page:
        """Return one page, newest first: after (older than) one batch, before (newer than) another."""
        return self.page(limit=limit, after_id=after_id, before_id=before_id).data

    def page(self, *, limit: int = 20, after_id: str | None = None, before_id: str | None = None) -> Reply[Page]:
        """Return the same page with what came beside it: the Workspace whose batches these are."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"limit is 1 to {MAX_PAGE}, not {limit}")
        cursors = {"after_id": after_id, "before_id": before_id}
        query = {"limit": limit} | {name: checked_id(cursor) for name, cursor in cursors.items() if cursor is not None}
        return _read(shapes.page, self._transport.request("GET", PATH, query=query))

    def list_all(
        self, *, limit: int = MAX_PAGE, after_id: str | None = None, before_id: str | None = None
    ) -> Iterator[MessageBatch]:
        """Give out batches page by page, each page asked for when it is needed.

        Towards older ones, or with `before_id` towards newer ones: then each page is still newest first.
        """
        while True:
            page = self.list(limit=limit, after_id=after_id, before_id=before_id)
            yield from page["data"]
            cursor = page["first_id"] if before_id else page["last_id"]
            if not page["has_more"] or not page["data"] or not cursor:
                return
            after_id, before_id = (after_id, cursor) if before_id else (cursor, None)

    @contextmanager
    def _result_lines(self, path: str, max_line_bytes: int) -> Iterator[Iterator[Line]]:
        with self._transport.stream(path) as stream:
            yield split_lines(stream.pieces, max_line_bytes=max_line_bytes)

    @contextmanager
    def _result_body(self, path: str) -> Iterator[ResultBody]:
        with self._transport.stream(path) as stream:
            yield ResultBody(stream)

    def result_lines(self, id: str, *, max_line_bytes: int = MAX_LINE_BYTES) -> AbstractContextManager[Iterator[Line]]:
        """Open the results as raw lines, in the order in which they come (not that of the requests).

        The path is built from the id: `results_url` could name another host, which must not get the key. A connection
        that breaks raises `APIUnreachable` after the last complete line. `ResultsUnavailable`: not ended, or archived.
        """
        return self._result_lines(path_of(id, "/results"), max_line_bytes)

    def result_body(self, id: str) -> AbstractContextManager[ResultBody]:
        """Open the results as `result_lines` does, and say after the last line whether all of it came."""
        return self._result_body(path_of(id, "/results"))

    def results(self, id: str) -> Iterator[ResultLine]:
        """Give out the results, parsed, as they come.

        Lines that cannot be read are passed over, and named in the `UnreadableLines` that is raised after the last one.
        """
        return parsed(self.result_lines(id), name=id)

    def wait_for(
        self,
        id: str,
        *,
        timeout: float | None = None,
        poll_interval: float = 30,
        on_poll: Callable[[MessageBatch], object] | None = None,
    ) -> MessageBatch:
        """Poll every `poll_interval` seconds, or less often if the server asks so, until the batch has ended.

        `on_poll` is called with each batch seen. Three failed polls in a row (each with its retries) raise their error.
        After `timeout` seconds, within which no sleep but one last poll may end, `WaitTimeout` is raised.
        """
        path = path_of(id)
        return poll_until_ended(
            lambda: self._retrieve(path), name=id, timeout=timeout, poll_interval=poll_interval, on_poll=on_poll
        )

    def _retrieve(self, path: str) -> Reply[MessageBatch]:
        return _read(shapes.message_batch, self._transport.request("GET", path))


def _excerpt(data: object) -> str:
    try:
        return f"{json.dumps(data):.300}"
    except (ValueError, RecursionError):  # an integer of 5,000 digits, too many levels
        return f"{type(data).__name__} that cannot be shown"


def _read(read: Callable[[object], T | None], reply: Reply[Any]) -> Reply[T]:
    data = read(reply.data)
    if data is None:
        words = f"not what was asked for: {_excerpt(reply.data)}"
        raise ServerFault(words, status=200, request_id=reply.request_id)
    return replace(cast("Reply[T]", reply), data=data)
