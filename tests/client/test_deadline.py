"""No call lasts longer than it may, however a server spreads its bytes."""

from __future__ import annotations

import io
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, get_args

import pytest

from django_claude_batches.client import BatchesClient
from django_claude_batches.client.deadline import Pace, TooSlow
from django_claude_batches.exceptions import (
    APIConnectionError,
    APITimeoutError,
    ClaudeBatchesError,
    OverloadedError,
    RateLimitError,
    WaitTimeout,
)
from django_claude_batches.testing import Bend, ClaudeEmulator
from django_claude_batches.testing.emulator.faults.bends import Body
from tests.client.scripted_server import BATCH_ID, Answer, Script, batch, refused

pytestmark = pytest.mark.timeout(10)  # without a total time these calls do not end

ROOT = Path(__file__).parents[2]
TOTAL = 0.3
HOSTILE = [body for body in get_args(Body) if body.startswith(("dripped", "endless"))]
BODY = b'{"requests":[{"custom_id":"a","params":{"model":"claude-haiku-4-5","max_tokens":1,"messages":[]}}]}'

CALLS: dict[str, Callable[[BatchesClient], object]] = {
    "retrieve": lambda client: client.retrieve(BATCH_ID),
    "list": lambda client: client.list(),
    "cancel": lambda client: client.cancel(BATCH_ID),
    "delete": lambda client: client.delete(BATCH_ID),
    "results": lambda client: list(client.results(BATCH_ID)),
    "create": lambda client: client.send(io.BytesIO(BODY), size=len(BODY), total_timeout=TOTAL),
}


def client_of(claude: ClaudeEmulator, **options: Any) -> BatchesClient:
    defaults: dict[str, Any] = {"timeout": (5, 5), "total_timeout": TOTAL}
    return BatchesClient(**{"api_key": claude.api_key, "base_url": claude.url} | defaults | options)


@contextmanager
def in_time(seconds: float = TOTAL) -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds + 4  # without a deadline, dripping answers take longer


@pytest.fixture
def ended(claude: ClaudeEmulator) -> str:
    """The id of a batch with a result."""
    with closing(client_of(claude, total_timeout=5)) as client:
        id_ = client.send(io.BytesIO(BODY), size=len(BODY)).data["id"]
    claude.finish()
    return id_


@pytest.mark.parametrize("body", HOSTILE)
@pytest.mark.parametrize("verb", CALLS)
def test_each_call_ends_however_its_answer_comes(claude: ClaudeEmulator, verb: Any, body: Any) -> None:
    # What is asked for is not there: for all but list and create it is an error's answer that does not end.
    claude.bend(Bend(endpoint=verb, body=body, seconds=0.02))
    with closing(client_of(claude)) as client, in_time(), pytest.raises(ClaudeBatchesError) as caught:
        CALLS[verb](client)
    if isinstance(caught.value, APIConnectionError):
        assert isinstance(caught.value, APITimeoutError)
        assert caught.value.sent
        assert "within 0.3 s, the total time of a c" in str(caught.value)
    assert len(claude.requests) == 1


@pytest.mark.parametrize("body", HOSTILE)
def test_good_answers_that_do_not_end(claude: ClaudeEmulator, ended: str, body: Any) -> None:
    claude.bend(Bend(body=body, seconds=0.02))
    with closing(client_of(claude)) as client:
        for call in (client.retrieve, client.cancel, client.delete):
            with in_time(), pytest.raises(APITimeoutError, match="TOTAL_TIMEOUT"):
                call(ended)


def test_an_error_of_which_the_rest_drips_is_still_that_error(claude: ClaudeEmulator) -> None:
    claude.fault("overloaded", times=None)
    claude.fault("trickle", pause=0.05, times=None)
    with closing(client_of(claude)) as client, in_time(), pytest.raises(OverloadedError, match="529"):
        client.list()


# The total is that of the call, with its retries -------------------------------------------------------------------


def test_a_pause_for_which_no_time_is_left_is_not_begun(
    make_client: Callable[..., BatchesClient], server: Script, quick: list[float]
) -> None:
    server.answers(refused(429, "rate_limit_error", "no", retry_after="30"))
    with pytest.raises(RateLimitError) as caught:
        make_client(total_timeout=20).list()
    assert (caught.value.retry_after, quick, len(server.received)) == (30, [], 1)
    with pytest.raises(RateLimitError):
        make_client(total_timeout=40).list()
    assert quick == [30, 30]


def test_the_default_is_under_a_minute_or_a_longer_read_timeout(claude: ClaudeEmulator, quick: list[float]) -> None:
    claude.fault("rate_limited", retry_after=49, times=None)
    with closing(client_of(claude, total_timeout=None)) as client, pytest.raises(RateLimitError):
        client.list()
    assert quick == [49, 49]
    claude.fault("rate_limited", retry_after=50, times=None)
    with closing(client_of(claude, total_timeout=None)) as client, pytest.raises(RateLimitError):
        client.list()
    assert quick == [49, 49]
    with closing(client_of(claude, total_timeout=None, timeout=(1, 70))) as client, pytest.raises(RateLimitError):
        client.list()
    assert quick == [49, 49, 50, 50]


@pytest.mark.parametrize("limits", [{"timeout": (5, 1.4)}, {"total_timeout": 1.4}])
def test_a_create_call_says_each_second_that_it_waits(claude: ClaudeEmulator, limits: dict[str, Any]) -> None:
    claude.fault("lost_answer", hold=5)
    signs: list[float] = []
    with closing(client_of(claude)) as client, in_time(1.4), pytest.raises(APITimeoutError) as caught:
        client.send(io.BytesIO(BODY), size=len(BODY), on_wait=lambda: signs.append(time.monotonic()), **limits)
    assert caught.value.sent
    assert len(signs) == 3, "before the body, after a second, and at the end"
    assert 0.9 < signs[1] - signs[0] < 1.3


def test_a_pooled_connection_is_not_shut_by_the_call_before(
    make_client: Callable[..., BatchesClient], server: Script
) -> None:
    server.answers(Answer(data=batch(), delay=0.3))
    client = make_client(total_timeout=0.5)
    for _ in range(2):  # the second one runs when the time of the first is over
        client.retrieve(BATCH_ID)
    assert len({received.port for received in server.received}) == 1


@pytest.mark.slow
def test_threads_do_not_share_their_time(claude: ClaudeEmulator, ended: str) -> None:
    with closing(client_of(claude, total_timeout=5)) as client:
        other = client.send(io.BytesIO(BODY), size=len(BODY)).data["id"]
        claude.bend(Bend(body="endless_continue", batch=ended, seconds=0.01))
        # Long enough for a whole answer on a busy machine.
        with closing(client_of(claude, total_timeout=1.5)) as impatient:
            failures: list[Exception] = []

            def ask() -> None:
                try:
                    impatient.retrieve(ended)
                except APIConnectionError as error:
                    failures.append(error)

            thread = threading.Thread(target=ask)
            thread.start()
            while thread.is_alive():
                assert impatient.retrieve(other)["id"] == other
    assert len(failures) == 1


FORKING = """
import os, sys
from django_claude_batches.client import BatchesClient
from django_claude_batches.exceptions import APIConnectionError, APITimeoutError

client = BatchesClient(api_key=sys.argv[2], base_url=sys.argv[1], total_timeout=0.3)

def is_ended():
    try:
        client.list()
    except APIConnectionError as error:
        return isinstance(error, APITimeoutError)

before = is_ended()
child = os.fork()
if child == 0:
    os._exit(0 if is_ended() else 1)
_, status = os.waitpid(child, 0)
sys.exit(0 if before and status == 0 else 1)
"""


def test_calls_end_in_a_forked_process_too(claude: ClaudeEmulator) -> None:
    claude.bend(Bend(body="endless_continue", seconds=0.02))
    subprocess.run([sys.executable, "-c", FORKING, claude.url, claude.api_key], cwd=ROOT, check=True, timeout=8)


# Which limits count as time ----------------------------------------------------------------------------------------


def test_an_error_says_whether_time_was_its_reason(
    make_client: Callable[..., BatchesClient], server: Script, closed_port: int
) -> None:
    server.answers(Answer(data=batch(), delay=1))
    with pytest.raises(APITimeoutError, match="timed out") as caught:
        make_client(timeout=(2, 0.1), max_retries=0).retrieve(BATCH_ID)
    with pytest.raises(APIConnectionError, match="refused") as caught:
        make_client(base_url=f"http://127.0.0.1:{closed_port}", max_retries=0).retrieve(BATCH_ID)
    assert not isinstance(caught.value, APITimeoutError)
    server.answers(Answer(data=batch(), cut=True))
    with pytest.raises(APIConnectionError) as caught:
        make_client(max_retries=0).retrieve(BATCH_ID)
    assert not isinstance(caught.value, APITimeoutError)


# Create ------------------------------------------------------------------------------------------------------------


def test_a_body_that_takes_too_long_is_an_uncertain_create(claude: ClaudeEmulator) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            waited.wait(0.1)
            return super().read(10)

    waited = threading.Event()
    with (
        closing(client_of(claude)) as client,
        in_time(),
        pytest.raises(APITimeoutError, match="create call") as caught,
    ):
        client.send(Slow(BODY), size=len(BODY), total_timeout=TOTAL)
    assert caught.value.sent


# The least rate of results -----------------------------------------------------------------------------------------


def test_results_that_drip_are_ended(claude: ClaudeEmulator, ended: str) -> None:
    claude.fault("trickle", piece_bytes=1, pause=0.02)
    client = client_of(claude, timeout=(5, 0.6), total_timeout=9, min_results_rate=1000)
    with closing(client), in_time(), pytest.raises(APITimeoutError, match="MIN_RESULTS_RATE"):
        list(client.results(ended))


def test_results_that_come_slowly_are_read_where_that_is_allowed(claude: ClaudeEmulator, ended: str) -> None:
    claude.fault("trickle", piece_bytes=10, pause=0.02)
    begun = time.monotonic()
    with closing(client_of(claude, min_results_rate=0)) as client:
        assert len(list(client.results(ended))) == 1
    assert time.monotonic() - begun > TOTAL


@pytest.mark.parametrize(
    ("reads", "is_too_slow"),
    [
        ([(10, 30.0)] * 3, True),
        ([(62_000, 0.0), (1, 59.0), (1, 2.0)], False),
        ([(1, 0.0)] * 1000, False),  # what lies between the reads is the caller's time
        ([(1, 30.0), (8000, 0.1), (59_000, 31.0)], False),  # a silence, and then it comes
        ([(120_000, 61.0), (1, 61.0)], True),  # each stretch for itself
        ([(1, 59.0), (0, 10.0)], False),  # the end
    ],
)
def test_the_least_rate(reads: list[tuple[int, float]], is_too_slow: bool) -> None:
    pace = Pace(5, limit="")
    pace.stream(rate=1000, window=60)
    try:
        for size, seconds in reads:
            pace.read(size, seconds)
    except TooSlow:
        assert is_too_slow
    else:
        assert not is_too_slow


def test_the_caller_is_called_within_a_long_line(client: BatchesClient, server: Script) -> None:
    class Enough(Exception):
        pass

    def count() -> None:
        calls.append(1)
        if len(calls) == 5:
            raise Enough

    calls: list[int] = []
    server.answers(Answer(chunks=(b"x" * 300_000,) * 10))
    with pytest.raises(Enough), client.result_lines(BATCH_ID, on_read=count) as lines:
        next(lines)


def test_trailers_without_end_end_the_results_however_fast_they_come() -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    with dripping(chunked, b"x: " + b"y" * 60_000 + b"\r\n") as port:
        client = BatchesClient(api_key="key", base_url=f"http://127.0.0.1:{port}")
        with closing(client), pytest.raises(APIConnectionError, match="no part of the answer"):
            list(client.results(BATCH_ID))


# wait_for ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_wait_for_ends_in_time(claude: ClaudeEmulator, ended: str) -> None:
    claude.bend(Bend(body="endless_continue", seconds=0.02))
    with closing(client_of(claude, total_timeout=None)) as client, in_time(1), pytest.raises(WaitTimeout):
        client.wait_for(ended, timeout=0.2)


# TLS and proxies ---------------------------------------------------------------------------------------------------


@contextmanager
def dripping(beginning: bytes, endlessly: bytes, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Listen, and send each connection this beginning and then the same byte by byte; yield the port."""
    stopped = threading.Event()

    def serve(connection: socket.socket) -> None:
        try:
            with connection if tls is None else tls.wrap_socket(connection, server_side=True) as stream:
                stream.sendall(beginning)
                while not stopped.wait(0.02):
                    stream.sendall(endlessly)
        except OSError:
            return  # the client went away

    def accept() -> None:
        while not stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("the program openssl is missing")
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    ask = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    command = [*ask.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(path) + ".crt"]
    subprocess.run(command, check=True, capture_output=True)
    with path.open("a") as file:
        file.write(Path(f"{path}.crt").read_text())
    return path


def test_tls_changes_nothing(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with dripping(b"HTTP/1.1 200 OK\r\n", b"x", context) as port:
        options: dict[str, Any] = {"base_url": f"https://127.0.0.1:{port}", "verify": f"{certificate}.crt"}
        client = BatchesClient(api_key="key", total_timeout=TOTAL, **options)
        with closing(client), in_time(), pytest.raises(APITimeoutError, match="TOTAL_TIMEOUT") as caught:
            client.retrieve(BATCH_ID)
    assert caught.value.sent


def test_a_silent_server_with_tls(certificate: Path) -> None:
    """Its tickets for new sessions come first, and are no answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    signs: list[float] = []
    said: dict[str, Any] = {"on_wait": lambda: signs.append(time.monotonic()), "timeout": (5, 1.4)}
    with dripping(b"", b"", context) as port:
        options: dict[str, Any] = {"base_url": f"https://127.0.0.1:{port}", "verify": f"{certificate}.crt"}
        with closing(BatchesClient(api_key="key", **options)) as client, pytest.raises(APIConnectionError):
            client.send(io.BytesIO(BODY), size=len(BODY), **said)
    assert len(signs) == 3, "before the body, after a second, and at the end"


def test_waiting_over_tls(certificate: Path) -> None:
    """An answer of one TLS record, of which the socket has nothing more to read after the first piece."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    answer = json.dumps(batch() | {"more": "x" * 15_000}).encode()
    with dripping(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer), b"", context) as port:
        options: dict[str, Any] = {"base_url": f"https://127.0.0.1:{port}", "verify": f"{certificate}.crt"}
        with closing(BatchesClient(api_key="key", **options)) as client, in_time(0):
            assert client.send(io.BytesIO(BODY), size=len(BODY), on_wait=lambda: None).data["id"] == BATCH_ID


def test_a_tls_handshake_that_drips_is_ended_and_sent_nothing() -> None:
    with dripping(b"\x16\x03\x03\x40\x00", b"x") as port:
        client = BatchesClient(api_key="key", base_url=f"https://127.0.0.1:{port}", total_timeout=TOTAL)
        with closing(client), in_time(), pytest.raises(APITimeoutError, match="TOTAL_TIMEOUT"):
            client.retrieve(BATCH_ID)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_changes_nothing(scheme: str) -> None:
    with dripping(b"HTTP/1.1 200 OK\r\nx: ", b"x") as port:  # of an https call this answers the CONNECT
        proxies = {scheme: f"http://127.0.0.1:{port}"}
        options: dict[str, Any] = {"proxies": proxies, "total_timeout": TOTAL, "max_retries": 0, "allow_http": True}
        client = BatchesClient(api_key="key", base_url=f"{scheme}://api.invalid", **options)
        with closing(client), in_time(), pytest.raises(APITimeoutError, match="TOTAL_TIMEOUT"):
            client.retrieve(BATCH_ID)
