"""`BatchesClient`: one method for each endpoint."""

# ruff: noqa: A002 (`id` is the API's word)

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, Literal, TypeVar, cast

from django_claude_batches.client import response_models
from django_claude_batches.client.http_session import (
    AUTH_HEADERS,
    KeyAuth,
    Timeout,
    environment_proxies,
    problem_with_proxies,
)
from django_claude_batches.client.jsonl import MAX_LINE_BYTES, MAX_LINES, Line, split_lines
from django_claude_batches.client.observed_transport import ObservedTransport
from django_claude_batches.client.paging import list_pages
from django_claude_batches.client.polling import poll_until_ended
from django_claude_batches.client.request_body import write_body
from django_claude_batches.client.response_body import MAX_LISTING_BYTES
from django_claude_batches.client.result_body import ResultBody, Stream
from django_claude_batches.client.result_line import parsed
from django_claude_batches.client.transport import Reply
from django_claude_batches.client.validation import (
    PATH,
    beta_header,
    checked_id,
    header,
    path_of,
    problem_with_key,
    problem_with_url,
)
from django_claude_batches.exceptions import APIConnectionError, APIResponseValidationError, InvalidRequest
from django_claude_batches.wire import MAX_BODY_BYTES, MAX_PAGE, DeletedMessageBatch, MessageBatch, Page, ResultLine

# Bytes of a create call that are kept in memory before the rest goes to a file.
SPOOL_BYTES = 1024 * 1024

T = TypeVar("T")


class BatchesClient:
    """A client of Anthropic's Message Batches API for one key.

    Safe to share between threads and to keep across a fork. `timeout` is seconds to connect and seconds without a byte
    while reading. `total_timeout` is the maximum of seconds for a whole call, with its retries and the pauses between
    them (None: 50, or the read timeout if that is longer); create has its own. For results it applies until the first
    bytes arrive; then `min_results_rate` is the minimum of bytes per second, over each period of the read timeout that
    is spent reading (0: none). `max_retries` is for everything but create. `proxies` and `verify` are those of
    requests; without them `HTTPS_PROXY`, `NO_PROXY` and `REQUESTS_CA_BUNDLE` apply (no proxy for loopback). A
    `base_url` may end in `/v1`; one of http beyond loopback needs `allow_http`: the key would be sent unencrypted.
    `around` returns a context manager in which each call is made, with its retries: it sees the call's error, and may
    refuse the call by raising one. Invalid arguments raise ValueError.

    Every method may raise `APIStatusError` (the API refused), `APIConnectionError` (no answer) and
    `APIResponseValidationError` (not the API's answer); none raises an error of requests.
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
        timeout: Timeout = (10, 50),
        total_timeout: float | None = None,
        min_results_rate: float = 1000,
        max_retries: int = 2,
        proxies: Mapping[str, str] | None = None,
        verify: bool | str = True,
        allow_http: bool = False,
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        problem = problem_with_key(api_key) or problem_with_url(base_url, allow_http=allow_http)
        problem = problem or problem_with_proxies(base_url, proxies or {}, allow_http=allow_http)
        if auth not in AUTH_HEADERS:
            problem = f"auth is one of {sorted(AUTH_HEADERS)}, not {auth!r}"
        if (total_timeout is not None and total_timeout <= 0) or min_results_rate < 0:
            problem = f"total_timeout {total_timeout!r} or min_results_rate {min_results_rate!r} is not positive"
        key = None
        if not problem:
            key = KeyAuth(api_key, auth, proxies=environment_proxies(base_url) if proxies is None else proxies)
            self._base_url = base_url.rstrip("/").removesuffix("/v1")  # each path begins with it
        del api_key, base_url, proxies  # error reports print the locals of frames
        if key is None:
            raise ValueError(problem)
        self._betas = tuple(betas)
        headers = header("anthropic-version", anthropic_version) | header("anthropic-workspace-id", workspace_id)
        self._transport = ObservedTransport(
            around=around,
            base_url=self._base_url,
            auth=key,
            headers=headers | beta_header(self._betas),
            timeout=timeout,
            total_timeout=total_timeout,
            min_results_rate=min_results_rate,
            max_retries=max_retries,
            verify=verify,
        )

    def __repr__(self) -> str:
        # An error report may show a client whose construction failed.
        return f"<BatchesClient {getattr(self, '_base_url', 'not made')}>"

    def redacted(self, text: str) -> str:
        """Return a text of an answer without the key and the passwords of proxies."""
        return self._transport.redacted(text)

    def close(self) -> None:
        """Close this thread's connections."""
        self._transport.close()

    def create(
        self, requests: Iterable[Mapping[str, Any]], *, betas: Iterable[str] = (), user_profile_id: str | None = None
    ) -> MessageBatch:
        """Create a batch of `{"custom_id", "params"}`, read one by one; the JSON is buffered in a temporary file.

        Sent once, as `send` does. Raise `InvalidRequest`, or `LimitExceeded`, before anything is sent.
        """
        with SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
            body = cast("BinaryIO", spool)
            size = write_body(requests, body)
            body.seek(0)
            return self.send(body, size=size, betas=betas, user_profile_id=user_profile_id).data

    def send(
        self,
        body: BinaryIO,
        *,
        size: int,
        betas: Iterable[str] = (),
        user_profile_id: str | None = None,
        timeout: Timeout = (60, 600),
        total_timeout: float | None = None,
        on_wait: Callable[[], object] | None = None,
    ) -> Reply[MessageBatch]:
        """Post `size` bytes of `body` (`{"requests":[…]}`, UTF-8) once, never retried: there is no idempotency key.

        `APIConnectionError(sent=False)`: no byte of the body was read, so no batch can have been made.
        `APIConnectionError(sent=True)`: there may be one. That is every other lost connection, any 2xx answer that
        isn't a batch with an id, and any exception of `body.read()` (its text is in the message), which is how a caller
        can set a deadline for sending; `read` is not called again after all bytes were sent. Other answers raise
        `APIStatusError`, of which a 5xx, 408 or 409 also leaves it open whether there is a batch, and
        `APIResponseValidationError`, which always does.

        The connect timeout also applies to each piece sent (urllib3 leaves it on the socket), hence its 60 s. The call
        as a whole takes `total_timeout` seconds at most; None is 10 minutes more than both timeouts together. `on_wait`
        is called before each piece that is sent, and each second during the wait for the answer; it must not raise.
        """
        if not 0 < size <= MAX_BODY_BYTES:
            raise InvalidRequest(f"a create call has 1 to {MAX_BODY_BYTES:,} bytes, not {size:,}")
        headers = header("anthropic-user-profile-id", user_profile_id) | beta_header((*self._betas, *betas))
        reply = self._transport.post_once(
            PATH,
            body,
            size=size,
            headers=headers,
            timeout=timeout,
            total_timeout=total_timeout,
            on_wait=on_wait,
        )
        batch = response_models.message_batch(reply.data)
        if batch is None:
            words = f"The answer to create is not a batch: {_excerpt(reply.data)}"
            raise APIConnectionError(f"{words} (request id {reply.request_id})", sent=True)
        return replace(reply, data=batch)

    def retrieve(self, id: str) -> MessageBatch:
        """Return the batch as it is now."""
        return self._retrieve(path_of(id)).data

    def cancel(self, id: str) -> MessageBatch:
        """Request cancellation, which takes a while; requests already running finish. A repeat is harmless."""
        return _read(response_models.message_batch, self._transport.request("POST", path_of(id, "/cancel"))).data

    def delete(self, id: str) -> DeletedMessageBatch:
        """Delete a batch that has ended, with its results.

        A 404 after an attempt whose answer was lost is success: that attempt deleted it. A 404 at once is
        `NotFoundError`.
        """
        reply = self._transport.delete(path_of(id))
        if reply is None:
            return {"id": id, "type": "message_batch_deleted"}
        return _read(response_models.deleted, reply).data

    def list(self, *, limit: int = 20, after_id: str | None = None, before_id: str | None = None) -> Page:
        """Return one page, newest first: after (older than) one batch, before (newer than) another."""
        return self.page(limit=limit, after_id=after_id, before_id=before_id).data

    def page(self, *, limit: int = 20, after_id: str | None = None, before_id: str | None = None) -> Reply[Page]:
        """Return the same page with the reply's metadata: the Workspace whose batches these are."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"limit is 1 to {MAX_PAGE}, not {limit}")
        cursors = {"after_id": after_id, "before_id": before_id}
        query = {"limit": limit} | {name: checked_id(cursor) for name, cursor in cursors.items() if cursor is not None}
        reply = _read(
            response_models.page, self._transport.request("GET", PATH, query=query, max_bytes=MAX_LISTING_BYTES)
        )
        count = len(reply.data["data"])
        if count > limit:
            words = f"not what was asked for: {count:,} batches on a page of {limit:,}"
            raise APIResponseValidationError(words, status_code=200, request_id=reply.request_id)
        return reply

    def list_all(
        self, *, limit: int = MAX_PAGE, after_id: str | None = None, before_id: str | None = None
    ) -> Iterator[MessageBatch]:
        """Yield batches page by page; each page is requested when it is needed.

        Towards older ones, or with `before_id` towards newer ones: then each page is still newest first. A page with
        the same end as an earlier one is the last.
        """

        def fetch(cursor: str | None) -> Reply[Page]:
            older = cursor if before_id is None else after_id
            return self.page(limit=limit, after_id=older, before_id=None if before_id is None else cursor)

        def next_cursor(page: Page) -> str | None:
            cursor = page["last_id"] if before_id is None else page["first_id"]
            return (cursor or None) if page["has_more"] and page["data"] else None

        for reply in list_pages(fetch, after_id if before_id is None else before_id, next_cursor=next_cursor):
            yield from reply.data["data"]

    @contextmanager
    def _opened(self, path: str, on_read: Callable[[], object] | None, read: Callable[[Stream], T]) -> Iterator[T]:
        with self._transport.stream(path, on_read=on_read) as stream:
            yield read(stream)

    def result_lines(
        self,
        id: str,
        *,
        max_line_bytes: int = MAX_LINE_BYTES,
        max_lines: int = MAX_LINES,
        on_read: Callable[[], object] | None = None,
    ) -> AbstractContextManager[Iterator[Line]]:
        """Open the results as raw lines, in the order in which they arrive (not that of the requests).

        The path is built from the id: `results_url` could name another host, which must not get the key. A lost
        connection raises `APIConnectionError` after the last complete line, and more than `max_lines` lines, blank ones
        included, `ResultsTooLarge`. `ResultsUnavailable`: not ended, or archived.

        `on_read` is called whenever bytes arrive, also within a long line; an exception of it ends the reading.
        """

        def read(stream: Stream) -> Iterator[Line]:
            return split_lines(stream.pieces, max_line_bytes=max_line_bytes, max_lines=max_lines)

        return self._opened(path_of(id, "/results"), on_read, read)

    def result_body(
        self, id: str, *, on_read: Callable[[], object] | None = None
    ) -> AbstractContextManager[ResultBody]:
        """Open the results as `result_lines` does, and tell after the last line whether they are complete."""
        return self._opened(path_of(id, "/results"), on_read, ResultBody)

    def results(self, id: str) -> Iterator[ResultLine]:
        """Yield the parsed results as they arrive.

        Unreadable lines are skipped, and listed in the `UnreadableLines` that is raised after the last line.
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
        """Poll every `poll_interval` seconds, or less often if the server says so, until the batch has ended.

        `on_poll` is called with each batch seen. Three failed polls in a row (each with its retries) raise their error.
        After `timeout` seconds, and one last poll of at most a second, raise `WaitTimeout`.
        """
        path = path_of(id)
        return poll_until_ended(
            lambda at_most: self._retrieve(path, at_most),
            name=id,
            timeout=timeout,
            poll_interval=poll_interval,
            on_poll=on_poll,
        )

    def _retrieve(self, path: str, at_most: float = math.inf) -> Reply[MessageBatch]:
        return _read(response_models.message_batch, self._transport.request("GET", path, at_most=at_most))


def _excerpt(data: object) -> str:
    try:
        return f"{json.dumps(data):.300}"
    except (ValueError, RecursionError):  # an integer of 5,000 digits, too many levels
        return f"{type(data).__name__} that cannot be shown"


def _read(read: Callable[[object], T | None], reply: Reply[Any]) -> Reply[T]:
    data = read(reply.data)
    if data is None:
        words = f"not what was asked for: {_excerpt(reply.data)}"
        raise APIResponseValidationError(words, status_code=200, request_id=reply.request_id)
    return replace(cast("Reply[T]", reply), data=data)
