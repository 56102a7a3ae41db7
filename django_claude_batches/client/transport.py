"""The only module that calls `requests`: sends a call and returns a `Reply`, or raises one of our errors.

Frames of requests and urllib3 hold the headers, so the key; Sentry and Django's error mails print frames. So errors are
raised outside the `except` block that caught theirs, with neither their traceback nor context.
"""

from __future__ import annotations

import json
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, BinaryIO, Generic, TypeVar

import requests

from django_claude_batches import __version__
from django_claude_batches.client import deadline, http_session, response_body, retries
from django_claude_batches.client.deadline import Pace
from django_claude_batches.client.errors import error_from_response, identifier, plain_text
from django_claude_batches.client.http_session import KeyAuth, Timeout
from django_claude_batches.client.redaction import REDACTED
from django_claude_batches.client.request_body import BodyReadError, Upload
from django_claude_batches.client.response_body import MAX_OBJECT_BYTES, READ_BYTES
from django_claude_batches.client.result_body import Stream
from django_claude_batches.client.retries import Failure
from django_claude_batches.exceptions import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    NotFoundError,
)
from django_claude_batches.wire import WORKSPACE_ID_PATTERN

# The default total time of a call: this, or the read timeout if that is longer.
# Under a minute, so that no other account's work waits longer for a worker.
TOTAL_SECONDS = 50.0

# The default seconds for sending the body of a create call: 256 MB at 430 kB per second.
SENDING_SECONDS = 600.0

T = TypeVar("T")


@dataclass(frozen=True)
class Reply(Generic[T]):
    """A successful answer: its JSON, the request id for support, the server's clock, and its `retry-after` in seconds.

    `workspace_id` is the Workspace of the key, according to the server; gateways may leave it out. `is_repeated` says
    that an earlier attempt may have succeeded at the server, and its answer was lost.
    """

    data: T
    request_id: str | None = None
    date: datetime | None = None
    retry_after: float | None = None
    workspace_id: str | None = None
    is_repeated: bool = False


class Transport:
    """Send HTTP to one base URL with one key. Safe to share between threads, and across a fork."""

    def __init__(
        self,
        *,
        base_url: str,
        auth: KeyAuth,
        headers: Mapping[str, str],
        timeout: Timeout,
        total_timeout: float | None,
        min_results_rate: float,
        max_retries: int,
        verify: bool | str,
    ) -> None:
        self._base_url = base_url
        self._auth = auth
        self.redacted = auth.redacted
        self._headers = {"User-Agent": f"django-claude-batches/{__version__}", "Accept": "application/json", **headers}
        self._timeout = timeout
        self._total_timeout = max(TOTAL_SECONDS, timeout[1]) if total_timeout is None else total_timeout
        self._min_results_rate = min_results_rate
        self._max_retries = max_retries
        self._verify = verify
        self._held = threading.local()

    def close(self) -> None:
        """Close this thread's connections; the next call opens new ones."""
        self._session().close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        max_bytes: int = MAX_OBJECT_BYTES,
        at_most: float = math.inf,
    ) -> Reply[Any]:
        """Make a call that is safe to repeat, with the retries that `retries` decides, within its total time.

        `max_bytes` limits a successful answer; `at_most` is a shorter total, in seconds.
        """
        reply, is_repeated = self._call_with_retries(
            lambda: self._reply(self._open(method, path, params=query), max_bytes), self._pace(at_most)
        )
        return replace(reply, is_repeated=is_repeated)

    def delete(self, path: str) -> Reply[Any] | None:
        """Delete; return None if it is gone after an attempt whose answer was lost: that attempt deleted it."""
        maybe_done = False

        def attempt() -> Reply[Any] | Failure | None:
            nonlocal maybe_done
            outcome = self._reply(self._open("DELETE", path))
            if isinstance(outcome, Failure):
                if maybe_done and isinstance(outcome.error, NotFoundError):
                    return None
                maybe_done = maybe_done or retries.may_have_worked(outcome)
            return outcome

        failure: APIStatusError | APIResponseValidationError | None = None
        try:
            return self._call_with_retries(attempt, self._pace())[0]
        except (APIStatusError, APIResponseValidationError) as error:  # a lost connection is raised unchanged
            failure = error
        if not maybe_done or retries.may_have_worked(Failure(failure)):
            raise failure
        # It refused the last attempt, and says nothing about the one before.
        words = f"A DELETE may have worked, and then: {failure}"
        raise APIConnectionError(words, sent=True, retry_after=failure.retry_after)

    def post_once(
        self,
        path: str,
        body: BinaryIO,
        *,
        size: int,
        headers: Mapping[str, str],
        timeout: Timeout,
        total_timeout: float | None,
        on_wait: Callable[[], object] | None,
    ) -> Reply[Any]:
        """Post `size` bytes of JSON on a new connection, once, within the total time.

        Every answer in 200-299 that isn't JSON counts as lost: `APIConnectionError(sent=True)`.
        """
        total = SENDING_SECONDS + sum(timeout) if total_timeout is None else total_timeout
        pace = Pace(total, limit="the total time of a create call", on_wait=on_wait)
        upload = Upload(body, size, pace)
        headers = {"Content-Type": "application/json", **headers}
        with deadline.keeping(pace), self._new_session() as session:
            response = self._call_shielded(
                lambda: self._call(session, "POST", path, data=upload, headers=headers, timeout=timeout),
                sent=lambda error: upload.started,
            )
            outcome = self._reply(self._check_status(response))
        if isinstance(outcome, Reply):
            return outcome
        error = outcome.error
        if isinstance(error, APIResponseValidationError) and 200 <= error.status_code < 300:
            error = APIConnectionError(str(error), sent=True)
        raise error

    @contextmanager
    def stream(self, path: str, *, on_read: Callable[[], object] | None = None) -> Iterator[Stream]:
        """Open the results and yield their bytes as they arrive. Opening is retried, reading is not.

        The total time applies to opening; then the minimum rate applies, and `on_read` is called after each read.
        """
        pace = self._pace()
        headers = {"Accept": "application/binary"}
        response, _is_repeated = self._call_with_retries(
            lambda: self._open("GET", path, about_results=True, headers=headers), pace
        )
        pace.stream(rate=self._min_results_rate, window=self._timeout[1], on_read=on_read)
        with response:
            yield Stream(self._pieces(response, pace), _length(response), bool(response.raw.chunked))

    def _pieces(self, response: requests.Response, pace: Pace) -> Iterator[bytes]:
        if response.raw.chunked:
            pieces = response.raw.stream(READ_BYTES, decode_content=False)  # twice as fast as `read1`
        else:
            # Not `stream`: where a connection breaks that keeps back up to READ_BYTES which had come. urllib3
            # 1.26 has no `read1`: there the same bytes are lost to us, and come with the next download.
            read = getattr(response.raw, "read1", response.raw.read)
            pieces = iter(lambda: read(READ_BYTES, decode_content=False), b"")
        pieces = response_body.unpacked_pieces(pieces)
        while True:
            with deadline.keeping(pace):
                piece: bytes | APIConnectionError | None = self._call_shielded(lambda: next(pieces, None))
            if isinstance(piece, APIConnectionError):
                raise piece
            if piece is None:
                return
            pace.piece_came()
            yield piece

    def _pace(self, at_most: float = math.inf) -> Pace:
        return Pace(min(self._total_timeout, at_most), limit="the total time of a call (total_timeout, TOTAL_TIMEOUT)")

    def _call_with_retries(self, attempt: Callable[[], T | Failure], pace: Pace) -> tuple[T, bool]:
        """Return the first answer that is not a failure, and whether an attempt before it may have worked."""
        tries, is_repeated = 0, False
        with deadline.keeping(pace):
            while isinstance(outcome := attempt(), Failure):
                is_repeated = is_repeated or retries.may_have_worked(outcome)
                pause = retries.pause_before_retry(outcome, tries=tries) if tries < self._max_retries else None
                if pause is None or pause >= pace.left:
                    raise outcome.error
                time.sleep(pause)
                tries += 1
        return outcome, is_repeated

    def _open(
        self, method: str, path: str, *, about_results: bool = False, **options: Any
    ) -> requests.Response | Failure:
        response = self._call_shielded(lambda: self._call(self._session(), method, path, **options))
        return self._check_status(response, about_results=about_results)

    def _call(self, session: requests.Session, method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("timeout", self._timeout)
        return session.request(method, self._base_url + path, stream=True, allow_redirects=False, **options)

    def _check_status(
        self, response: requests.Response | APIConnectionError, *, about_results: bool = False
    ) -> requests.Response | Failure:
        """Return a successful answer, not yet read, or a failure for any other."""
        if isinstance(response, APIConnectionError):
            return Failure(response)
        if 200 <= response.status_code < 300:
            return response
        body = bytearray()
        with response:  # as far as it arrives: a truncated one still has its status
            self._call_shielded(lambda: response_body.collect(_undecoded(response), body, MAX_OBJECT_BYTES))
        text = self.redacted(response_body.unpacked(body, MAX_OBJECT_BYTES).decode(errors="replace"))
        error = error_from_response(
            response.status_code, response.reason, response.headers, text, about_results=about_results
        )
        return Failure(error, retries.should_retry(response.headers))

    def _reply(self, response: requests.Response | Failure, max_bytes: int = MAX_OBJECT_BYTES) -> Reply[Any] | Failure:
        if isinstance(response, Failure):
            return response
        body = bytearray()
        with response:
            failure = self._call_shielded(lambda: response_body.collect(_undecoded(response), body, max_bytes))
        if isinstance(failure, APIConnectionError):
            return Failure(failure)
        headers = response.headers
        request_id = identifier(headers.get("request-id"))
        data, problem = self._parsed(body, max_bytes)
        if problem:
            encoding = identifier(headers.get("content-encoding"))
            problem += f" (content-encoding: {encoding})" if encoding else ""
            return Failure(APIResponseValidationError(problem, status_code=response.status_code, request_id=request_id))
        date, workspace_id = retries.http_date(headers.get("date")), _workspace_id(headers)
        return Reply(data, request_id, date, retries.retry_after(headers), workspace_id)

    def _parsed(self, body: bytearray, max_bytes: int) -> tuple[Any, str]:
        """Return the JSON of a successful answer, and what is wrong with it."""
        content = response_body.unpacked(body, max_bytes)
        if len(content) > max_bytes:
            return None, f"the answer has more than {max_bytes:,} bytes, so it is not what was asked for"
        text = self.redacted(content.decode(errors="replace"))
        try:
            return json.loads(text), ""
        except (ValueError, RecursionError):
            return None, f"the answer is not JSON: {plain_text(text)}"

    def _call_shielded(
        self, call: Callable[[], T], *, sent: Callable[[BaseException], bool] = http_session.was_sent
    ) -> T | APIConnectionError:
        """Return what `call` returns, or a lost connection as our error, not raised and without requests' frames."""
        try:
            return call()
        except (BodyReadError, *http_session.CONNECTION_ERRORS) as error:
            exceeded = deadline.exceeded()
            kind = APITimeoutError if exceeded or http_session.timed_out(error) else APIConnectionError
            return kind(exceeded or http_session.describe_error(error, self.redacted), sent=sent(error))
        except BaseException as error:  # noqa: BLE001 (a time limit, Ctrl-C: raised again without urllib3's frames)
            foreign = error.with_traceback(None)
            foreign.__context__ = foreign.__cause__ = None
        raise foreign

    def _session(self) -> requests.Session:
        """Return this thread's session. One inherited through a fork is not used: it shares sockets with the parent."""
        if getattr(self._held, "pid", None) != os.getpid():
            self._held.session, self._held.pid = self._new_session(), os.getpid()
        session: requests.Session = self._held.session
        return session

    def _new_session(self) -> requests.Session:
        return http_session.new_session(auth=self._auth, headers=self._headers, verify=self._verify)


def _length(response: requests.Response) -> int | None:
    """Return the announced number of bytes; None without one, or if it is that of another encoding."""
    text = response.headers.get("content-length", "")
    is_encoded = response.headers.get("content-encoding", "identity") != "identity"
    return int(text) if not is_encoded and re.fullmatch(r"[0-9]{1,18}", text) else None


def _undecoded(response: requests.Response) -> Iterator[bytes]:
    """Yield a body as it arrived: decoding would fail if its encoding header is wrong."""
    return response.raw.stream(READ_BYTES, decode_content=False)


def _workspace_id(headers: Mapping[str, str]) -> str | None:
    """Return the Workspace's id; None for an invalid one: truncated or redacted, it would be another's."""
    named = headers.get("anthropic-workspace-id", "")
    return named if WORKSPACE_ID_PATTERN.fullmatch(named) and REDACTED not in named else None
