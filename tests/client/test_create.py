"""Create is sent once, whatever happens to its answer."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from django_claude_batches.client import BatchesClient
from django_claude_batches.exceptions import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    InternalServerError,
    InvalidRequest,
    OverloadedError,
    RateLimitError,
)
from tests.client.scripted_server import BATCH_ID, Answer, Hangup, Script, batch, refused

ONE = [{"custom_id": "a", "params": {"model": "claude-haiku-4-5"}}]


def test_reply_carries_request_id_and_the_servers_clock(client: BatchesClient, server: Script) -> None:
    headers = {"request-id": "req_1", "date": "Sun, 22 Nov 2026 12:00:00 GMT"}
    server.answers(Answer(data=batch(), headers=headers))
    body = b'{"requests":[]}'
    reply = client.send(io.BytesIO(body), size=len(body))
    assert (reply.request_id, reply.date) == ("req_1", datetime(2026, 11, 22, 12, tzinfo=UTC))
    assert reply.data == batch()
    assert server.received[0].body == body


def test_headers_of_one_create(make_client: Callable[..., BatchesClient], server: Script) -> None:
    server.answers(Answer(data=batch()))
    client = make_client(betas=["one", "two"], workspace_id="wrkspc_1", anthropic_version="2026-10-21")
    client.create(ONE, betas=["three", "one"], user_profile_id="prof_1")
    headers = server.received[0].headers
    assert headers["anthropic-beta"] == "one,two,three"
    assert headers["anthropic-version"] == "2026-10-21"
    assert headers["anthropic-workspace-id"] == "wrkspc_1"
    assert headers["anthropic-user-profile-id"] == "prof_1"
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(server.received[0].body))
    assert "transfer-encoding" not in headers


@pytest.mark.parametrize(
    "answer",
    [
        Hangup(),
        Hangup(reset=True),
        Answer(data=batch(), delay=1),
        Answer(data=batch(), cut=True),
        Answer(chunks=(b'{"id":"msgb',), cut=True),
        Answer(body=b"<html>fine</html>"),
        Answer(body=b""),
        Answer(status=204, body=b""),
        Answer(data={"id": "something-else"}),
        Answer(data=[batch()]),
        Answer(data={"type": "message_batch"}),
    ],
    ids=["hangup", "reset", "timeout", "cut", "cut chunk", "html", "empty", "204", "strange id", "list", "no id"],
)
def test_lost_answer_is_sent_once_and_uncertain(client: BatchesClient, server: Script, answer: Answer | Hangup) -> None:
    server.answers(answer)
    body = b'{"requests":[]}'
    with pytest.raises(APIConnectionError) as caught:
        client.send(io.BytesIO(body), size=len(body), timeout=(2, 0.3))
    assert caught.value.sent is True
    assert len(server.received_in_the_end(1)) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refused(500, "api_error", "no", x_should_retry="true"), InternalServerError),
        (refused(529, "overloaded_error", "no"), OverloadedError),
        (refused(408, "timeout_error", "no"), APIStatusError),
        (refused(409, "conflict_error", "no"), APIStatusError),
        (refused(429, "rate_limit_error", "no", retry_after="0"), RateLimitError),
        (refused(401, "authentication_error", "no"), AuthenticationError),
        (Answer(status=502, body=b"<html>Bad Gateway</html>"), APIResponseValidationError),
        (Answer(status=413, body=b"<html>Too large</html>"), APIStatusError),
        (Answer(status=500, body=b"half", cut=True), APIResponseValidationError),
    ],
    ids=["500", "529", "408", "409", "429", "401", "502", "413", "500 cut"],
)
def test_refused_create_is_sent_once(
    client: BatchesClient, server: Script, answer: Answer, kind: type[APIError]
) -> None:
    server.answers(answer)
    with pytest.raises(APIError) as caught:
        client.create(ONE)
    assert type(caught.value) is kind
    assert caught.value.status_code == answer.status
    assert len(server.received) == 1


def test_a_connection_never_made_sent_nothing(closed_port: int, make_client: Callable[..., BatchesClient]) -> None:
    client = make_client(base_url=f"http://127.0.0.1:{closed_port}")
    with pytest.raises(APIConnectionError, match="refused") as caught:
        client.create(ONE)
    assert caught.value.sent is False


def test_a_host_that_is_not_there_sent_nothing(make_client: Callable[..., BatchesClient]) -> None:
    with pytest.raises(APIConnectionError) as caught:
        make_client(base_url="https://nowhere.invalid", proxies={}).create(ONE)
    assert caught.value.sent is False


def test_failed_tls_sent_nothing(make_client: Callable[..., BatchesClient], server: Script) -> None:
    client = make_client(base_url=server.url.replace("http:", "https:"))
    with pytest.raises(APIConnectionError, match="SSL") as caught:
        client.create(ONE)
    assert caught.value.sent is False
    assert server.received == []


def test_a_connection_that_nobody_takes_sent_nothing(make_client: Callable[..., BatchesClient]) -> None:
    with socket.socket() as full, socket.socket() as first:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        first.connect(full.getsockname())  # the backlog of one is taken
        client = make_client(base_url=f"http://127.0.0.1:{full.getsockname()[1]}")
        with pytest.raises(APIConnectionError, match="ConnectTimeout") as caught:
            client.send(io.BytesIO(b"{}"), size=2, timeout=(0.2, 2))
    assert caught.value.sent is False


@pytest.mark.parametrize("error", [TimeoutError("too late"), RuntimeError("too late"), BrokenPipeError("too late")])
def test_body_that_raises_is_an_uncertain_create(client: BatchesClient, server: Script, error: Exception) -> None:
    class Late(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise error
            return super().read(10)

    server.answers(Answer(data=batch()))
    with pytest.raises(APIConnectionError, match="too late") as caught:
        client.send(Late(b"x" * 100), size=100)
    assert caught.value.sent is True
    assert all(len(received.body) < 100 for received in server.received)


def test_interrupt_while_sending_comes_out_as_itself(client: BatchesClient, server: Script) -> None:
    class Interrupted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise KeyboardInterrupt

    server.answers(Answer(data=batch()))
    with pytest.raises(KeyboardInterrupt) as caught:
        client.send(Interrupted(b"x"), size=1)
    assert not any("urllib3" in str(entry.path) for entry in caught.traceback)


def test_early_refusal_of_a_large_body_is_heard(make_client: Callable[..., BatchesClient]) -> None:
    """Cloudflare answers 413 before it has read the body, and closes: that is a refusal, not an uncertain create."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_refuse_early, args=(listening,))
        thread.start()
        client = make_client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}")
        size = 30_000_000
        with pytest.raises(APIStatusError, match="Too large") as caught:
            client.send(io.BytesIO(bytes(size)), size=size)
        thread.join()
    assert caught.value.status_code == 413


def _refuse_early(listening: socket.socket) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\nToo large")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1_000_000):
            pass


def test_each_create_has_a_connection_of_its_own(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(data=batch()))
    client.retrieve(BATCH_ID)
    client.create(ONE)
    client.create(ONE)
    client.retrieve(BATCH_ID)
    ports = [received.port for received in server.received]
    assert ports[0] == ports[3]
    assert len(set(ports)) == 3


@pytest.mark.parametrize("size", [0, -1, 256_000_001])
def test_size_is_checked_before_anything_is_sent(client: BatchesClient, server: Script, size: int) -> None:
    with pytest.raises(InvalidRequest):
        client.send(io.BytesIO(b""), size=size)
    assert server.received == []


def test_a_bad_request_is_found_before_anything_is_sent(client: BatchesClient, server: Script) -> None:
    with pytest.raises(InvalidRequest):
        client.create([*ONE, {"custom_id": "not good", "params": {}}])
    assert server.received == []


def test_requests_may_come_from_a_generator(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(data=batch()))
    client.create(
        {"custom_id": str(n), "params": {"text": "é" * 1000}} for n in range(2000)
    )  # more than the memory part
    sent = json.loads(server.received[0].body)
    assert [item["custom_id"] for item in sent["requests"]] == [str(n) for n in range(2000)]
