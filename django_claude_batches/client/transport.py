"""One seam that knows `requests`: from a verb's method and path to a `Reply`, or to an error of ours.

Frames of requests and urllib3 hold the headers, so the key; Sentry and Django's error mails print frames. Therefore
whatever is raised here is raised outside the `except` that caught theirs, with neither their traceback nor context.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Generic, TypeVar

import requests

from django_claude_batches import __version__
from django_claude_batches.client import connecting, retries
from django_claude_batches.client.arguments import checked_base_url
from django_claude_batches.client.body import BodyReadError, Upload
from django_claude_batches.client.connecting import KeyAuth, Timeout
from django_claude_batches.client.refusals import identifier, plain_text, refusal
from django_claude_batches.client.result_body import Stream
from django_claude_batches.client.retries import Failure
from django_claude_batches.exceptions import APIError, APIUnreachable, RemoteNotFound, ServerFault
from django_claude_batches.wire import WORKSPACE_ID_PATTERN

READ_BYTES = 256 * 1024
"""Bytes asked of the socket at a time. `iter_lines` asks for 512, which is quadratic in the length of a line."""

MAX_ERROR_BYTES = 1024 * 1024
"""Bytes read of an answer that is an error: one that is cut is not known as the API's."""

T = TypeVar("T")


@dataclass(frozen=True)
class Reply(Generic[T]):
    """A good answer: its JSON, the id to quote to support, the server's clock, and its hint in seconds to wait.

    `workspace_id` is the Workspace that the key acts in, as the server says; gateways may leave it out.
    """

    data: T
    request_id: str | None = None
    date: datetime | None = None
    retry_after: float | None = None
    workspace_id: str | None = None


class Transport:
    """Speaks HTTP to one base URL with one key. Safe to share between threads, and across a fork."""

    def __init__(
        self,
        *,
        base_url: str,
        auth: KeyAuth,
        headers: Mapping[str, str],
        timeout: Timeout,
        max_retries: int,
        proxies: Mapping[str, str] | None,
        verify: bool | str,
    ) -> None:
        self.base_url = checked_base_url(base_url)
        self._auth = auth
        self._headers = {"User-Agent": f"django-claude-batches/{__version__}", "Accept": "application/json", **headers}
        self._timeout = timeout
        self._max_retries = max_retries
        self._proxies = proxies
        self._verify = verify
        self._held = threading.local()

    def close(self) -> None:
        """Close this thread's connections; the next call opens new ones."""
        self._session().close()

    def request(self, method: str, path: str, *, query: Mapping[str, Any] | None = None) -> Reply[Any]:
        """Make a call that may be repeated, and repeat it as `retries` decides."""
        return self._persist(lambda: self._ask(method, path, params=query))

    def delete(self, path: str) -> Reply[Any] | None:
        """Delete; None where the thing is gone after a try whose answer was lost: that try deleted it."""
        maybe_done = False

        def attempt() -> Reply[Any] | Failure | None:
            nonlocal maybe_done
            outcome = self._ask("DELETE", path)
            if isinstance(outcome, Failure):
                if maybe_done and isinstance(outcome.error, RemoteNotFound):
                    return None
                maybe_done = maybe_done or retries.may_have_worked(outcome)
            return outcome

        failure: APIError | None = None
        try:
            return self._persist(attempt)
        except APIError as error:
            failure = error
        if not maybe_done or retries.may_have_worked(Failure(failure)):
            raise failure
        # It refused the last try, and says nothing of the one before.
        words = f"A DELETE may have worked, and then: {failure}"
        raise APIUnreachable(words, sent=True, retry_after=failure.retry_after)

    def post_once(
        self, path: str, body: BinaryIO, *, size: int, headers: Mapping[str, str], timeout: Timeout
    ) -> Reply[Any]:
        """Post `size` bytes of JSON on a connection of their own, once.

        Every answer in 200-299 that isn't JSON counts as lost: `APIUnreachable(sent=True)`.
        """
        upload = Upload(body, size)
        headers = {"Content-Type": "application/json", **headers}
        with self._new_session() as session:
            response = _shielded(
                lambda: self._call(session, "POST", path, data=upload, headers=headers, timeout=timeout),
                sent=lambda error: upload.started,
            )
            outcome = self._reply(self._judged(response))
        if isinstance(outcome, Reply):
            return outcome
        error = outcome.error
        if isinstance(error, APIError) and 200 <= error.status < 300:
            error = APIUnreachable(str(error), sent=True)
        raise error

    @contextmanager
    def stream(self, path: str) -> Iterator[Stream]:
        """Open the results and give out their bytes as they come. Opening is retried, reading is not."""
        # A gzip body that was cut raises nothing, so ask for none (docs/reference/wire.md §11.15).
        headers = {"Accept": "application/binary", "Accept-Encoding": "identity"}
        response = self._persist(lambda: self._open("GET", path, about_results=True, headers=headers))
        with response:
            yield Stream(self._pieces(response), _length(response), bool(response.raw.chunked))

    def _pieces(self, response: requests.Response) -> Iterator[bytes]:
        if response.raw.chunked:
            pieces = response.iter_content(READ_BYTES)  # a whole chunk each: twice as fast as `read1`
        else:
            # Not `iter_content`: where a connection breaks that keeps back up to READ_BYTES which had come. urllib3
            # 1.26 has no `read1`: there the same bytes are lost to us, and come with the next download.
            read = getattr(response.raw, "read1", response.raw.read)
            pieces = iter(lambda: read(READ_BYTES, decode_content=True), b"")
        while True:
            piece: bytes | APIUnreachable | None = _shielded(lambda: next(pieces, None))
            if isinstance(piece, APIUnreachable):
                raise piece
            if piece is None:
                return
            yield piece

    def _persist(self, attempt: Callable[[], T | Failure]) -> T:
        tries = 0
        while isinstance(outcome := attempt(), Failure):
            pause = retries.pause_before_retry(outcome, tries=tries) if tries < self._max_retries else None
            if pause is None:
                raise outcome.error
            time.sleep(pause)
            tries += 1
        return outcome

    def _ask(self, method: str, path: str, **options: Any) -> Reply[Any] | Failure:
        return self._reply(self._open(method, path, **options))

    def _open(
        self, method: str, path: str, *, about_results: bool = False, **options: Any
    ) -> requests.Response | Failure:
        response = _shielded(lambda: self._call(self._session(), method, path, **options))
        return self._judged(response, about_results=about_results)

    def _call(self, session: requests.Session, method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("timeout", self._timeout)
        return session.request(method, self.base_url + path, stream=True, allow_redirects=False, **options)

    def _judged(
        self, response: requests.Response | APIUnreachable, *, about_results: bool = False
    ) -> requests.Response | Failure:
        """Return a good answer as it is, still to be read; the failure that any other stands for."""
        if isinstance(response, APIUnreachable):
            return Failure(response)
        if 200 <= response.status_code < 300:
            return response
        with response:
            text = self._auth.redacted(_beginning(response))
        error = refusal(
            response.status_code, response.reason or "", response.headers, text, about_results=about_results
        )
        return Failure(error, retries.advice(response.headers))

    def _reply(self, response: requests.Response | Failure) -> Reply[Any] | Failure:
        if isinstance(response, Failure):
            return response
        with response:
            content = _shielded(lambda: b"".join(_undecoded(response)))
        if isinstance(content, APIUnreachable):
            return Failure(content)
        headers = response.headers
        request_id = identifier(headers.get("request-id"))
        text = self._auth.redacted(connecting.plain(content).decode(errors="replace"))
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            message = f"the answer is not JSON: {plain_text(text)}"
            return Failure(ServerFault(message, status=response.status_code, request_id=request_id))
        date, workspace_id = retries.http_date(headers.get("date")), _workspace_id(headers)
        return Reply(data, request_id, date, retries.retry_after(headers), workspace_id)

    def _session(self) -> requests.Session:
        """Return this thread's session. One inherited through a fork shares its sockets with the parent: not used."""
        if getattr(self._held, "pid", None) != os.getpid():
            self._held.session, self._held.pid = self._new_session(), os.getpid()
        session: requests.Session = self._held.session
        return session

    def _new_session(self) -> requests.Session:
        return connecting.new_session(
            self.base_url, auth=self._auth, headers=self._headers, proxies=self._proxies, verify=self._verify
        )


def _shielded(
    call: Callable[[], T], *, sent: Callable[[BaseException], bool] = connecting.was_sent
) -> T | APIUnreachable:
    """Return what `call` returns, or the lack of an answer as our error, unraised and without requests' frames."""
    try:
        return call()
    except (BodyReadError, *connecting.BROKEN) as error:
        return APIUnreachable(connecting.words(error), sent=sent(error), too_slow=connecting.timed_out(error))
    except BaseException as error:  # noqa: BLE001 (a time limit, Ctrl-C: it goes on, but not with urllib3's frames)
        foreign = error.with_traceback(None)
        foreign.__context__ = foreign.__cause__ = None
    raise foreign


def _length(response: requests.Response) -> int | None:
    """Read the announced number of bytes; None where there is none, or where they are another encoding's."""
    text = response.headers.get("content-length", "")
    is_encoded = response.headers.get("content-encoding", "identity") != "identity"
    return int(text) if not is_encoded and re.fullmatch(r"[0-9]{1,18}", text) else None


def _beginning(response: requests.Response) -> str:
    """Read an error's text as far as it comes: a cut one still has its status."""
    body = bytearray()

    def fill() -> None:
        for piece in _undecoded(response):
            body.extend(piece)
            if len(body) >= MAX_ERROR_BYTES:
                return

    _shielded(fill)
    return connecting.plain(bytes(body[:MAX_ERROR_BYTES]), MAX_ERROR_BYTES).decode(errors="replace")


def _undecoded(response: requests.Response) -> Iterator[bytes]:
    """Give out a body as it came: an encoding that it has not would make the call fail."""
    return response.raw.stream(READ_BYTES, decode_content=False)


def _workspace_id(headers: Mapping[str, str]) -> str | None:
    """Read the Workspace's id; None for what can be none: cut, it would be another's."""
    named = headers.get("anthropic-workspace-id")
    return named if WORKSPACE_ID_PATTERN.fullmatch(named or "") else None
