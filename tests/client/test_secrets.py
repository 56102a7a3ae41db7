"""The key stands in no error, no frame of one, no log and no repr."""

from __future__ import annotations

import io
import logging
import traceback
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from django_claude_batches.client import BatchesClient
from django_claude_batches.exceptions import ClaudeBatchesError
from tests.client.conftest import KEY
from tests.client.scripted_server import BATCH_ID, Answer, Hangup, Raw, Script, batch, page, refused

SECRET = "canary-0123456789"  # its core, so that quoting and escaping don't hide it; looked for in lower case
PASSWORD = "Hunter2-Hunter2"


def everything_that_an_error_shows(error: BaseException) -> str:
    """Render it as error mails do: the chain, each frame's locals, the arguments and the attributes."""
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    seen: list[BaseException] = []
    while error not in seen:
        seen.append(error)
        shown += repr(error) + repr(error.args) + repr(vars(error))
        error = error.__cause__ or error.__context__ or error
    return shown.lower()


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


def shown_by(log: pytest.LogCaptureFixture) -> str:
    """Return what was logged, with the frames of the exceptions in it."""
    raised = [record.exc_info[1] for record in log.records if record.exc_info and record.exc_info[1]]
    return log.text.lower() + "".join(map(everything_that_an_error_shows, raised))


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

ESCAPED = "".join(rf"\u{ord(character):04x}" for character in KEY)
IN_A_URL = KEY.replace("-", "%2D")


def headed(status: int, **headers: str) -> Answer:
    """An answer whose body is not JSON and whose header has the key; in `headers` underscores are hyphens."""
    return Answer(status, body=b"no", headers={name.replace("_", "-"): value for name, value in headers.items()})


ECHOES: dict[str, Any] = {
    "in the reason": Answer(500, reason=f"no {KEY}", body=b""),
    "in the reason of a redirect": Answer(302, reason=KEY, headers={"location": "/x"}),
    "in request-id": headed(500, request_id=KEY),
    "in request-id of a good status": headed(200, request_id=KEY),
    "in Location's host": headed(307, location=f"https://{KEY}.example/x"),
    "in content-encoding": headed(200, content_encoding=KEY),
    "in retry-after": headed(429, retry_after=KEY, retry_after_ms=KEY, date=KEY),
    "escaped as JSON does": Answer(400, body=f'{{"error": {{"type": "x", "message": "{ESCAPED}"}}}}'.encode()),
    "escaped in an error's type": Answer(400, body=f'{{"error": {{"type": "{ESCAPED}"}}}}'.encode()),
    "escaped in a good answer": Answer(body=f'{{"id": "{ESCAPED}"}}'.encode()),
    "escaped twice": Answer(400, body=ESCAPED.replace("\\", "\\\\").encode()),
    "escaped as URLs do": refused(400, "x", f"no {IN_A_URL}"),
    "in details": refused(400, "x", "no", details={"error_code": KEY, KEY: [KEY]}),
    "in the body's request_id": Answer(400, data={"error": {"type": KEY.lower(), "message": "no"}, "request_id": KEY}),
    "at the end of what is kept": Answer(500, body=b"x" * 490 + KEY.encode()),
    "as the status": Raw(f"HTTP/1.1 {KEY} OK\r\n\r\n".encode()),
    "as the version": Raw(f"HTTP/{KEY} 200 OK\r\n\r\n".encode()),
    "as the status line": Raw(f"{KEY}\r\n\r\n".encode()),
    "as a chunk's size": Raw(f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{KEY}\r\n".encode()),
    "as a header without a name": Raw(f"HTTP/1.1 500 no\r\nx: y\r\n{KEY}\r\nz: z\r\n\r\n".encode()),
    "in a trailer": Raw(
        f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{{]\r\n0\r\nx: {KEY}\r\n\r\n".encode()
    ),
}
HARMLESS_TO_SOME = [FAILURES["slow"], FAILURES["cut"], FAILURES["cut chunk"]]

CALLS: dict[str, Callable[[BatchesClient], object]] = {
    "create": lambda client: client.create([{"custom_id": "a", "params": {}}]),
    "send": lambda client: client.send(io.BytesIO(b"{}"), size=2, timeout=(0.2, 0.2)),
    "retrieve": lambda client: client.retrieve(BATCH_ID),
    "cancel": lambda client: client.cancel(BATCH_ID),
    "delete": lambda client: client.delete(BATCH_ID),
    "list": lambda client: client.list(),
    "list_all": lambda client: list(client.list_all()),
    "results": lambda client: list(client.results(BATCH_ID)),
    "wait_for": lambda client: client.wait_for(BATCH_ID, timeout=0, poll_interval=0),
}


def is_of_results(call: str, failure: object) -> bool:
    """Lines of results are data, and are given out as they came."""
    return call == "results" and isinstance(failure, Answer) and failure.status == 200


TRIED = [
    *((auth, call, what) for call in CALLS for what in FAILURES for auth in ("bearer", "x-api-key")),
    *(("bearer", call, what) for call in ("create", "retrieve", "results") for what in ECHOES),
]
EVERY = FAILURES | ECHOES


@pytest.mark.parametrize(
    ("auth", "call", "failure"),
    [
        pytest.param(auth, CALLS[call], EVERY[what], id=f"{call}-{what}-{auth}")
        for auth, call, what in TRIED
        if not ("echo" in what or what in ECHOES) or not is_of_results(call, EVERY[what])
    ],
)
def test_no_error_shows_the_key(
    make_client: Callable[..., BatchesClient],
    server: Script,
    caplog: pytest.LogCaptureFixture,
    auth: str,
    call: Callable[[BatchesClient], object],
    failure: Answer | Raw | Hangup,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers(failure)
    client = make_client(auth=auth, timeout=(0.2, 0.2), max_retries=0)
    error = raised_by(lambda: call(client))
    if error is None:
        assert failure in HARMLESS_TO_SOME or call is CALLS["results"]
    else:
        assert SECRET not in everything_that_an_error_shows(error)
        assert not {"requests", "urllib3", "http"} & modules_in(error)
    assert any(SECRET in "".join(received.headers.values()).lower() for received in server.received_in_the_end(1))
    assert SECRET not in shown_by(caplog)
    assert SECRET not in repr(client).lower()


def test_no_error_shows_the_key_where_nobody_listens(
    make_client: Callable[..., BatchesClient], closed_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = make_client(base_url=f"http://127.0.0.1:{closed_port}", max_retries=0)
    for call in CALLS.values():
        with pytest.raises(ClaudeBatchesError) as caught:
            call(client)
        assert SECRET not in everything_that_an_error_shows(caught.value) + shown_by(caplog)


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


def test_a_workspace_that_is_the_key_is_none(client: BatchesClient, server: Script) -> None:
    server.answers(page(batch()), replace(page(batch()), headers={"anthropic-workspace-id": f"wrkspc-{KEY}"}))
    assert client.page().workspace_id is None
    assert client.page().workspace_id is None


PROXY = f"http://user:{PASSWORD}@127.0.0.1:9"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"auth": "basic"}, "auth"),
        ({"base_url": "nowhere"}, "base_url"),
        ({"base_url": f"https://user:{PASSWORD}@api.invalid"}, "without user"),
        ({"base_url": f"https://{PASSWORD}@api.invalid"}, "without user"),
        ({"base_url": f"https://user:{PASSWORD}@["}, "base_url"),
        ({"base_url": "http://api.invalid"}, "in the clear to api.invalid"),
        ({"anthropic_version": "a b"}, "anthropic-version"),
        ({"betas": ["a b"]}, "beta"),
    ],
)
def test_other_bad_arguments_show_no_secret_either(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        BatchesClient(**{"api_key": KEY, "proxies": {"https": PROXY}} | wrong)
    error = caught.value
    assert error.__traceback__ is not None
    shown = everything_that_an_error_shows(error.with_traceback(error.__traceback__.tb_next))
    assert SECRET not in shown
    assert PASSWORD.lower() not in shown


BASIC = b64encode(f"user:{PASSWORD}".encode()).decode()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(407, reason=f"not {PASSWORD}", body=b""),
        Answer(407, reason=f"not Basic {BASIC}", body=b""),
        Raw(f"HTTP/1.1 {PASSWORD} no\r\n\r\n".encode()),
        Hangup(),
    ],
    ids=["password", "as sent", "status", "hangup"],
)
@pytest.mark.parametrize("of_environment", [False, True])
def test_no_error_shows_the_password_of_a_proxy(
    make_client: Callable[..., BatchesClient],
    server: Script,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer | Raw | Hangup,
    of_environment: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers(answer)
    proxy = server.url.replace("//", f"//user:{PASSWORD.replace('-', '%2D')}@")
    monkeypatch.setenv("https_proxy", proxy)
    options = {} if of_environment else {"proxies": {"https": proxy}}
    client = make_client(base_url="https://api.invalid", max_retries=0, **options)
    for call in (CALLS["retrieve"], CALLS["create"]):
        error = raised_by(lambda call=call: call(client))
        assert isinstance(error, ClaudeBatchesError)
        shown = everything_that_an_error_shows(error) + shown_by(caplog) + repr(client).lower()
        assert PASSWORD.lower() not in shown.replace("%2d", "-")
        assert BASIC.lower() not in shown
    assert server.received[0].headers["proxy-authorization"] == f"Basic {BASIC}"


def test_a_proxys_url_that_cannot_be_read_is_shown_without_its_password(
    make_client: Callable[..., BatchesClient],
) -> None:
    client = make_client(
        base_url="https://api.invalid", proxies={"https": "http://user:short@127.0.0.1:port"}, max_retries=0
    )
    error = raised_by(lambda: CALLS["retrieve"](client))
    assert "127.0.0.1:port" in str(error)
    assert "short" not in everything_that_an_error_shows(error or Exception())


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


@pytest.mark.parametrize("password", ["stra\u00dfe1", "stra%C3%9Fe1", "\ufb01nancier", "I\u0307stanbul"])
def test_a_password_with_characters_that_grow_in_upper_case(password: str) -> None:
    """Also where no client can be made of it, the key would be in the frames."""
    client = BatchesClient(api_key=KEY, proxies={"https": f"http://user:{password}@proxy.example:3128"})
    assert password not in client.redacted(f"407 {password}")


def test_no_proxy_may_be_none() -> None:
    assert BatchesClient(api_key=KEY, proxies={"https": None}).redacted("407") == "407"  # type: ignore[dict-item]


@pytest.mark.parametrize("key", ["http", "all", "http://localhost"])
def test_a_proxy_elsewhere_does_not_get_the_key_in_the_clear(key: str) -> None:
    there = {key: "http://user:secret-word@proxy.example:3128"}
    with pytest.raises(ValueError, match=r"^the proxy proxy.example would get the key in the clear"):
        BatchesClient(api_key=KEY, base_url="http://localhost:9", proxies=there)
    BatchesClient(api_key=KEY, base_url="http://localhost:9", proxies=there, allow_http=True)
    BatchesClient(api_key=KEY, base_url="https://localhost:9", proxies=there)
    BatchesClient(api_key=KEY, base_url="http://localhost:9", proxies={key: "http://127.0.0.1:3128"})


@pytest.mark.parametrize("host", ["evil\\.localhost", "evil;.localhost", "evil,.localhost", "evil%2f.localhost"])
def test_a_host_that_requests_reads_as_another_one_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"^base_url must be like"):
        BatchesClient(api_key=KEY, base_url=f"http://{host}")
