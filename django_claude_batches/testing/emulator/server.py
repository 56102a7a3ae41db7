"""The HTTP server: a thread for each connection, HTTP/1.1 with keep-alive, loopback only."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .http_messages import Delivery, Request, Response
from .ledger import ReceivedRequest

HOST = "127.0.0.1"
# Longer bodies are counted in the log, and not stored.
KEPT_BODY_BYTES = 1_000_000

# The path of requests to the emulator itself, which are not in the log.
CONTROL = "/_emulator/"


class Server(ThreadingHTTPServer):
    """Serves `respond` on 127.0.0.1, and `control` below `CONTROL`. Each request is passed to `log`, then answered."""

    daemon_threads = True
    allow_reuse_port = False
    request_queue_size = 128

    def __init__(
        self, port: int, *, max_body_bytes: int, now: Callable[[], datetime], log: Callable[[ReceivedRequest], None]
    ) -> None:
        self.max_body_bytes = max_body_bytes
        self.now = now
        self.log = log
        self.respond: Callable[[Request], Response]
        self.control: Callable[[Request], Response]
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__((HOST, port), Handler)

    def server_bind(self) -> None:
        """Bind without HTTPServer's look-up of this host's name, which asks DNS."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.socket.getsockname()[1]

    def start(self, respond: Callable[[Request], Response], *, control: Callable[[Request], Response]) -> None:
        self.respond, self.control = respond, control
        thread = threading.Thread(target=self.serve_forever, args=(0.01,), name="claude-emulator", daemon=True)
        thread.start()

    def stop(self) -> None:
        """Stop listening, and close connections that clients keep open."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._connections_lock:
            for connection in self._connections:
                _shut(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect; anything else is a bug in the emulator and must be seen."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            raise error


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client was faster


class Dripping:
    """Writes to a file byte by byte, and waits after each."""

    def __init__(self, file: Any, wait: Callable[[], object]) -> None:
        self._file = file
        self._wait = wait

    def write(self, data: bytes) -> int:
        for byte in data:
            self._file.write(bytes([byte]))
            self._file.flush()
            self._wait()
        return len(data)

    def flush(self) -> None:
        self._file.flush()


class Handler(BaseHTTPRequestHandler):
    """Reads requests off one connection and writes their responses."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "ClaudeEmulator"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and a short body are sent in one packet

    def handle_expect_100(self) -> bool:
        """Send `100 Continue` at once. The client waits for it, so it must not stay in the buffer."""
        answered = super().handle_expect_100()
        self.wfile.flush()
        return answered

    def _serve(self) -> None:
        try:
            body, size = self._read_body()
        except ValueError:  # an invalid length: the end of the body, and so the next request, is unknown
            self.close_connection = True
            self.send_error(400)
            return
        url = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=url.path,
            query=dict(parse_qsl(url.query, keep_blank_values=True)),
            # HTTP/1.0 needs no Host.
            headers={"host": f"{HOST}:{self.server.server_port}"}
            | {name.lower(): value for name, value in self.headers.items()},
            body=body,
        )
        if request.path.startswith(CONTROL):
            self._send(self.server.control(request))
            return
        response = self.server.respond(request)
        # Before it is sent: a client that has the response finds its request in the log.
        self._log(request, size, response)
        self._send(response)

    # http.server looks for these names.
    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = do_HEAD = do_OPTIONS = _serve  # noqa: N815

    def _read_body(self) -> tuple[bytes | None, int]:
        """Read the whole body, so that the connection can be used again; return it unless too large, and its size."""
        limit = self.server.max_body_bytes
        pieces, size = [], 0
        for piece in self._incoming():
            size += len(piece)
            if size <= limit:
                pieces.append(piece)
            else:
                pieces.clear()
        return (b"".join(pieces), size) if size <= limit else (None, size)

    def _incoming(self) -> Iterator[bytes]:
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return self._chunks()
        return self._exactly(int(self.headers.get("content-length", 0)))

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size > 0:
            piece = self.rfile.read(min(size, 1 << 20))
            if not piece:
                raise ConnectionAbortedError("the client stopped in the middle of a body")
            size -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            yield from self._exactly(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers

    def _log(self, request: Request, size: int, response: Response) -> None:
        kept = request.body if size <= KEPT_BODY_BYTES else None
        delivery = response.delivery
        self.server.log(
            ReceivedRequest(
                method=request.method,
                path=request.path,
                query=request.query,
                headers=request.headers,
                body_bytes=size,
                body=kept,
                at=self.server.now(),
                status=0 if delivery.lost else response.status,
                request_id=response.headers.get("request-id", ""),
                sha256=hashlib.sha256(request.body).hexdigest() if request.body else "",
                answer=delivery.outcome,
                batch_id=response.batch_id,
                faults=tuple(response.faults),
            )
        )

    def _send(self, response: Response) -> None:
        how, file = response.delivery, self.wfile
        self.server.stopping.wait(how.delay)
        if how.drip:
            self.wfile: Any = Dripping(file, lambda: self.server.stopping.wait(how.drip))
        try:
            self._deliver(response, how)
        finally:
            self.wfile = file

    def _deliver(self, response: Response, how: Delivery) -> None:
        if how.endless == "continue":
            self._repeat(b"HTTP/1.1 100 Continue\r\n\r\n", how)
        if not how.lost:
            self._send_head(response)
            if how.endless == "trailers":
                body = response.body
                self._send_pieces([body] if isinstance(body, bytes) else body, how)
            elif isinstance(response.body, bytes):
                self._send_whole(response.body, how, is_sized="content-length" in response.headers)
            else:
                self._send_pieces(response.body, how)
        if how.lost or how.cut:
            self._cut(reset=how.reset)

    def _send_head(self, response: Response) -> None:
        self.send_response_only(response.status, response.reason)
        own = {"server": self.version_string(), "date": self.date_time_string()}
        for name, value in (own | response.headers).items():
            if name not in response.omits:
                self.send_header(name, value)
        if "content-length" in {*response.headers, *response.omits}:
            self.close_connection = True  # the body's end is marked by closing the connection

    def _send_whole(self, body: bytes, how: Delivery, *, is_sized: bool) -> None:
        if not is_sized:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            for piece in self._paced([body[: how.sent_bytes]], how):
                self.wfile.write(piece)

    def _send_pieces(self, body: Iterable[bytes], how: Delivery) -> None:
        with contextlib.closing(self._paced(body, how)) as pieces:
            if self.request_version == "HTTP/1.0":
                self.close_connection = True
                self.end_headers()
                self.wfile.writelines(pieces)
                return
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in pieces:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                self.wfile.flush()
        if how.endless == "trailers":
            self.wfile.write(b"0\r\n")
            self._repeat(b"x-trailer: 1\r\n", how)
        if not how.cut:
            self.wfile.write(b"0\r\n\r\n")

    def _repeat(self, line: bytes, how: Delivery) -> None:
        """Send the line until the client goes away or the server stops."""
        while not self.server.stopping.wait(how.pause):
            self.wfile.write(line)
            self.wfile.flush()

    def _paced(self, pieces: Iterable[bytes], how: Delivery) -> Generator[bytes, None, None]:
        """Yield the pieces as they are, or smaller ones with pauses between."""
        if how.piece_bytes is None:
            yield from pieces
            return
        for piece in pieces:
            for start in range(0, len(piece), how.piece_bytes):
                yield piece[start : start + how.piece_bytes]
                self.wfile.flush()
                self.server.stopping.wait(how.pause)

    def _cut(self, *, reset: bool) -> None:
        """End the connection. Closing with lingering on, for 0 seconds, causes a reset."""
        self.close_connection = True
        self.wfile.flush()
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
        else:
            _shut(self.connection)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the `Date` by the emulator's clock, which a test can advance."""
        server: Any = self.server
        return super().date_time_string(server.now().timestamp() if timestamp is None else timestamp)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing: the log is `ClaudeEmulator.requests`."""
