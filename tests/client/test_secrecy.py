"""The key stands in no error, no frame of one, no log and no repr."""

from __future__ import annotations

import io
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from django_claude_batches.client import BatchesClient
from django_claude_batches.exceptions import ClaudeBatchesError
from tests.client.conftest import KEY
from tests.client.scripted import BATCH_ID, Answer, Hangup, Script, batch, refused

SECRET = "canary-0123456789"  # its core, so that quoting and escaping don't hide it


def everything_that_an_error_shows(error: BaseException) -> str:
    """Render it as error mails do: the chain, each frame's locals, the arguments and the attributes."""
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    seen: list[BaseException] = []
    while error not in seen:
        seen.append(error)
        shown += repr(error) + repr(error.args) + repr(vars(error))
        error = error.__cause__ or error.__context__ or error
    return shown


def raised_by(call: Callable[[], object]) -> ClaudeBatchesError | None:
    """Return the error without this module's own frames, whose locals know the key."""
    try:
        call()
    except ClaudeBatchesError as error:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_globals["__name__"] == __name__:
            frames = frames.tb_next
        return error.with_traceback(frames)
    return None


def modules_in(error: BaseException) -> set[str]:
    names: set[str] = set()
    while error:
        names |= {frame.f_globals["__name__"].split(".")[0] for frame, _ in traceback.walk_tb(error.__traceback__)}
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return names


ECHO = Answer(status=400, body=f"<html>you sent Authorization: Bearer {KEY}</html>".encode())

FAILURES: dict[str, Any] = {
    "401": refused(401, "authentication_error", "API key is invalid."),
    "echo": ECHO,
    "echo in the envelope": refused(400, "invalid_request_error", f"bad header {KEY}"),
    # Not for results: their lines are data, given out as they came.
    "echo in a good answer": Answer(data={"received": {"x-api-key": KEY}}),
    "echo in no json": Answer(body=f"Bearer {KEY}".encode()),
    "500": refused(500, "api_error", "no"),
    "hangup": Hangup(),
    "reset": Hangup(reset=True),
    "cut": Answer(data=batch(), cut=True),
    "cut chunk": Answer(chunks=(b"x\n",), cut=True),
    "slow": Answer(data=batch(), delay=0.5),
    "redirect": Answer(status=302, headers={"location": "http://elsewhere.invalid/"}),
    "bad gzip": Answer(body=b"no gzip", headers={"content-encoding": "gzip"}),
}

HARMLESS_TO_SOME = [FAILURES["slow"], FAILURES["cut"], FAILURES["cut chunk"]]

CALLS: dict[str, Callable[[BatchesClient], object]] = {
    "create": lambda client: client.create([{"custom_id": "a", "params": {}}]),
    "create_from_file": lambda client: client.create_from_file(io.BytesIO(b"{}"), size=2, timeout=(0.2, 0.2)),
    "retrieve": lambda client: client.retrieve(BATCH_ID),
    "cancel": lambda client: client.cancel(BATCH_ID),
    "delete": lambda client: client.delete(BATCH_ID),
    "list": lambda client: client.list(),
    "list_all": lambda client: list(client.list_all()),
    "results": lambda client: list(client.results(BATCH_ID)),
    "wait_for": lambda client: client.wait_for(BATCH_ID, timeout=0, poll_interval=0),
}


@pytest.mark.parametrize("auth", ["bearer", "x-api-key"])
@pytest.mark.parametrize(
    ("call", "failure"),
    [
        pytest.param(call, failure, id=f"{name}-{what}")
        for name, call in CALLS.items()
        for what, failure in FAILURES.items()
        if not (name == "results" and what.startswith("echo in") and failure.status == 200)
    ],
)
def test_no_error_shows_the_key(
    make_client: Callable[..., BatchesClient],
    server: Script,
    caplog: pytest.LogCaptureFixture,
    auth: str,
    call: Callable[[BatchesClient], object],
    failure: Answer | Hangup,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers(failure)
    client = make_client(auth=auth, timeout=(0.2, 0.2), max_retries=0)
    error = raised_by(lambda: call(client))
    if error is None:
        assert failure in HARMLESS_TO_SOME
    else:
        assert SECRET not in everything_that_an_error_shows(error)
        assert not {"requests", "urllib3", "http"} & modules_in(error)
    assert any(SECRET in "".join(received.headers.values()) for received in server.received_in_the_end(1))
    assert SECRET not in caplog.text
    assert SECRET not in repr(client)


def test_no_error_shows_the_key_where_nobody_listens(
    make_client: Callable[..., BatchesClient], closed_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = make_client(base_url=f"http://127.0.0.1:{closed_port}", max_retries=0)
    for call in CALLS.values():
        with pytest.raises(ClaudeBatchesError) as caught:
            call(client)
        assert SECRET not in everything_that_an_error_shows(caught.value) + caplog.text


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (None, "non-empty"),
        ("", "non-empty"),
        (b"sk-canary-0123456789", "non-empty"),
        ("sk-canary-0123456789\n", "line break"),
        (" sk-canary-0123456789", "white space"),
        ("sk-canary-0123456789-é", "header"),
        ("sk-canary-0123456789-\x00", "header"),
    ],
)
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(key: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        BatchesClient(api_key=key)
    error = caught.value
    assert error.__traceback__ is not None
    ours = error.with_traceback(error.__traceback__.tb_next)  # this test's own frame holds the key
    assert SECRET not in everything_that_an_error_shows(ours)


def test_other_bad_arguments_do_not_show_the_key_either() -> None:
    wrong: list[dict[str, Any]] = [{"auth": "basic"}, {"base_url": "nowhere"}, {"betas": ["a b"]}]
    for options in wrong:
        with pytest.raises(ValueError, match=r"auth|base_url|beta") as caught:
            BatchesClient(api_key=KEY, **options)
        assert SECRET not in everything_that_an_error_shows(caught.value)


def test_interrupt_in_a_read_leaves_without_urllib3s_frames(
    client: BatchesClient, server: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a worker's time limit does, whose exception comes from a signal, at any line."""

    class TimeLimitError(Exception):
        pass

    def strike(*args: object, **options: object) -> None:
        raise TimeLimitError

    server.answers(Answer(data=batch()))
    client.retrieve(BATCH_ID)
    monkeypatch.setattr("http.client.HTTPConnection.getresponse", strike)
    with pytest.raises(TimeLimitError) as caught:
        client.retrieve(BATCH_ID)
    assert SECRET not in everything_that_an_error_shows(caught.value)
    assert not {"requests", "urllib3", "http"} & modules_in(caught.value)
