"""The limit of submitting: a prepared body through a plain socket."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

from tests.benchmarks.steps.clock import Clock


def body() -> bytes:
    """Build the body of our batch; not timed."""
    import django

    django.setup()
    from django_claude_batches.models import BatchRequest

    rows = BatchRequest.objects.values_list("custom_id", "params_text").order_by("position")
    parts = (f'{{"custom_id":"{"x" * 13}_{name}","params":{params}}}' for name, params in rows)
    return b'{"requests":[' + ",".join(parts).encode() + b"]}"


def post(address: tuple[str, int], data: bytes) -> bytes:
    """Return the beginning of the answer, which contains the batch's id."""
    head = (
        f"POST /v1/messages/batches HTTP/1.1\r\nhost: {address[0]}:{address[1]}\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    with socket.create_connection(address) as sock:
        sock.sendall(head.encode())
        sock.sendall(data)
        return sock.recv(65_536)


if __name__ == "__main__":
    parts = urlsplit(os.environ["ANTHROPIC_BASE_URL"])
    data = body()
    clock = Clock()
    answer = post((str(parts.hostname), int(parts.port or 80)), data)
    clock.stop()
    remote = answer.partition(b'"id":"')[2].partition(b'"')[0].decode()
    clock.report(data.count(b'"custom_id"'), remote=remote)
