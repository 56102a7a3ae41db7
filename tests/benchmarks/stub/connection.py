"""One connection of the stub: read requests from the socket, and send answers."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import parse_qsl, urlsplit

PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Connection:
    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._file = sock.makefile("rb", buffering=1 << 18)

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def read(self) -> Request | None:
        """Read the next request; return None if the client has closed the connection."""
        line = self._file.readline(65_536)
        if not line:
            return None
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers = self._headers()
        if headers.get("expect", "").lower() == "100-continue":
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = _chunks(self._file) if "transfer-encoding" in headers else _exactly(self._file, headers)
        parts = urlsplit(target)
        return Request(method, parts.path, dict(parse_qsl(parts.query)), headers, body)

    def answer(self, status: int, data: object) -> None:
        body = json.dumps(data, separators=(",", ":")).encode()
        head = f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\nrequest-id: req_stub\r\n"
        self._socket.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)

    def refuse(self, status: int, kind: str, message: str) -> None:
        self.answer(status, {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_stub"})

    def stream(self, framed: bytes, *, gzip: bool) -> None:
        """Send results that are already in chunked encoding."""
        encoding = b"content-encoding: gzip\r\n" if gzip else b""
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-jsonl\r\nrequest-id: req_stub\r\n" + encoding
        self._socket.sendall(head + b"transfer-encoding: chunked\r\n\r\n")
        self._socket.sendall(framed)

    def _headers(self) -> dict[str, str]:
        headers = {}
        while (line := self._file.readline(65_536)) not in (b"\r\n", b"\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return headers


def _exactly(file: BinaryIO, headers: dict[str, str]) -> bytes:
    size = int(headers.get("content-length") or 0)
    body = bytearray(size)
    view, got = memoryview(body), 0
    while got < size:
        read = file.readinto(view[got : got + PIECE])  # type: ignore[attr-defined]
        if not read:
            raise ConnectionError("the body was cut")
        got += read
    return body  # type: ignore[return-value]


def _chunks(file: BinaryIO) -> bytes:
    parts = []
    while size := int(file.readline().split(b";")[0], 16):
        parts.append(file.read(size))
        file.read(2)
    while file.readline() not in (b"\r\n", b"\n", b""):
        pass
    return b"".join(parts)
