"""The HTTP server: connections, bodies, streams, the log, and that it prints nothing."""

from __future__ import annotations

import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.utils import parsedate_to_datetime

import pytest

from django_claude_batches.testing import ClaudeEmulator
from tests.testing.caller import BATCHES, answer_of, call, create, encoded, requests_of


@pytest.fixture
def claude(claude_emulator):
    return claude_emulator


@pytest.fixture
def connection(claude):
    connection = http.client.HTTPConnection(claude.url.removeprefix("http://"), timeout=20)
    yield connection
    connection.close()


@pytest.fixture
def headers(claude):
    return {"x-api-key": claude.api_key, "anthropic-version": "2023-06-01"}


def port_of(claude):
    return int(claude.url.rpartition(":")[2])


def test_a_connection_serves_one_request_after_another(claude, connection, headers):
    local_ports = set()
    for method, path, body in [
        ("POST", BATCHES, encoded(requests_of("a"))),
        ("POST", BATCHES, b"not JSON"),
        ("GET", "/nowhere", None),
        ("GET", BATCHES, None),
    ]:
        connection.request(method, path, body, headers)
        answer_of(connection)
        local_ports.add(connection.sock.getsockname())
    assert [request.status for request in claude.requests] == [200, 400, 404, 200]
    assert len(local_ports) == 1


def test_the_date_is_the_emulators(claude):
    claude.pass_time(86_400)
    shown = parsedate_to_datetime(call(claude, "GET", BATCHES).headers["date"])
    assert abs(shown - claude.now()) < timedelta(seconds=5)


def test_results_leave_the_connection_usable(claude, connection, headers):
    batch_id = create(claude, *(str(n) for n in range(500)), system="x" * 300)
    claude.finish()
    connection.request("GET", f"{BATCHES}/{batch_id}/results", headers=headers)
    assert len(answer_of(connection).lines) == 500
    connection.request("GET", BATCHES, headers=headers)
    assert answer_of(connection).status == 200


def test_a_chunked_body(claude, connection, headers):
    body = encoded(requests_of("a", "b"))
    pieces = [body[:7], body[7:8], body[8:]]
    connection.request("POST", BATCHES, iter(pieces), headers, encode_chunked=True)
    assert answer_of(connection).json["request_counts"]["processing"] == 2
    assert claude.requests[0].headers["transfer-encoding"] == "chunked"
    assert claude.requests[0].body == body


@pytest.mark.parametrize("chunked", [False, True], ids=["counted", "chunked"])
def test_a_body_over_the_limit_is_read_to_its_end_and_refused(chunked):
    with ClaudeEmulator(max_body_bytes=1000) as claude:
        connection = http.client.HTTPConnection(claude.url.removeprefix("http://"), timeout=20)
        headers = {"x-api-key": claude.api_key, "anthropic-version": "2023-06-01"}
        body = iter([b"x" * 600_000] * 5) if chunked else b"x" * 3_000_000
        connection.request("POST", BATCHES, body, headers, encode_chunked=chunked)
        assert answer_of(connection).error[:2] == (413, "request_too_large")
        connection.request("GET", BATCHES, headers=headers)
        assert answer_of(connection).status == 200
        connection.close()
        assert (claude.requests[0].body_bytes, claude.requests[0].body) == (3_000_000, None)


def test_expect_100_continue(claude, headers):
    body = encoded(requests_of("a"))
    lines = [f"POST {BATCHES} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", "Expect: 100-continue"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", port_of(claude)), timeout=20) as sock:
        sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("header", ["Content-Length: x", "Transfer-Encoding: chunked"])
def test_a_body_without_a_length_is_refused_and_the_connection_closed(claude, header):
    with socket.create_connection(("127.0.0.1", port_of(claude)), timeout=20) as sock:
        sock.sendall(f"POST {BATCHES} HTTP/1.1\r\n{header}\r\n\r\nnot a number\r\n".encode())
        received = b"".join(iter(lambda: sock.recv(65_536), b""))
    assert received.startswith(b"HTTP/1.1 400 ")
    assert call(claude, "GET", BATCHES).status == 200


def test_http_1_0_gets_results_unchunked(claude, headers):
    batch_id = create(claude, "a")
    claude.finish()
    lines = [f"GET {BATCHES}/{batch_id}/results HTTP/1.0", *(f"{name}: {value}" for name, value in headers.items())]
    with socket.create_connection(("127.0.0.1", port_of(claude)), timeout=20) as sock:
        sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        received = b"".join(iter(lambda: sock.recv(65_536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert json.loads(body)["custom_id"] == "a"


def test_the_log(claude):
    body = encoded(requests_of("a"))
    sent = call(claude, "POST", f"{BATCHES}?beta=true", body=body, User_Agent="me/1.0")
    received = claude.requests[-1]
    assert (received.method, received.path, received.query) == ("POST", BATCHES, {"beta": "true"})
    assert received.headers["user-agent"] == "me/1.0"
    assert (received.body, received.body_bytes) == (body, len(body))
    assert (received.status, received.request_id) == (200, sent.headers["request-id"])
    assert claude.batches[0].created_at <= received.at <= claude.now()


def test_downloads_tell_which_lines_were_sent(claude):
    batch_id = create(claude, "a", "b")
    claude.finish()
    answer = call(claude, "GET", f"{BATCHES}/{batch_id}/results")
    download = claude.downloads[0]
    assert (download.batch_id, download.workspace_id, download.complete) == (batch_id, claude.workspace_id, True)
    assert b"".join(line.raw for line in claude.served_lines) == answer.body


def test_a_client_that_disconnects_is_logged_and_affects_no_other(capfd):
    with ClaudeEmulator(replies=lambda params, custom_id: "x" * 1_000_000) as claude:
        batch_id = create(claude, *(str(n) for n in range(30)), max_tokens=64_000)
        claude.finish()
        connection = http.client.HTTPConnection(claude.url.removeprefix("http://"), timeout=20)
        headers = {"x-api-key": claude.api_key, "anthropic-version": "2023-06-01"}
        connection.request("GET", f"{BATCHES}/{batch_id}/results", headers=headers)
        response = connection.getresponse()
        response.read(2_000_000)
        response.close()
        connection.close()
        assert call(claude, "GET", BATCHES).status == 200
        assert not claude.downloads[0].complete
        assert len(claude.served_lines) < 30
    assert capfd.readouterr() == ("", "")


def test_nothing_is_printed(claude, capfd):
    create(claude)
    call(claude, "GET", "/nowhere")
    with socket.create_connection(("127.0.0.1", port_of(claude)), timeout=20) as sock:
        sock.sendall(b"POST /v1/messages/batches HTTP/1.1\r\nContent-Length: 100\r\n\r\ncut")
    call(claude, "GET", BATCHES)
    assert capfd.readouterr() == ("", "")


def test_many_at_once(claude):
    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(lambda n: create(claude, str(n)), range(64)))
    assert len(set(ids)) == 64
    assert [batch.id for batch in claude.batches if batch.id in ids] == [batch.id for batch in claude.batches]
    assert {batch.custom_ids[0] for batch in claude.batches} == {str(n) for n in range(64)}


def test_leaving_closes_the_port_and_the_connections_that_clients_keep_open():
    with ClaudeEmulator() as claude:
        address = ("127.0.0.1", port_of(claude))
        sock = socket.create_connection(address, timeout=5)
        call(claude, "GET", BATCHES)  # a later connection: the earlier one was taken
    with sock:
        assert sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)
