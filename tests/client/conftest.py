from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from django_claude_batches.client import BatchesClient
from tests.client.scripted_server import Script, serving

KEY = "sk-ant-api03-CANARY-0123456789"


@pytest.fixture
def server() -> Iterator[Script]:
    with serving() as script:
        yield script


@pytest.fixture
def make_client(server: Script) -> Iterator[Callable[..., BatchesClient]]:
    """Makes clients of the scripted server, and closes them."""
    with ExitStack() as stack:

        def make(**options: Any) -> BatchesClient:
            options = {"api_key": KEY, "base_url": server.url, "timeout": (2, 2)} | options
            return stack.enter_context(closing(BatchesClient(**options)))

        yield make


@pytest.fixture
def client(make_client: Callable[..., BatchesClient]) -> BatchesClient:
    return make_client()


@pytest.fixture
def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
    return port
