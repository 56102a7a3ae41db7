"""The pytest plugin: the fixture `claude_emulator`, and a guard that refuses connections to other machines.

It is loaded in each project that installs the package, so by default it changes nothing: the guard is active while a
test uses the fixture, and for all tests only with `claude_batches_loopback_only = true`. Until then it imports only
what pytest has already imported: importing the emulator takes a fifth of a second. A test marked `live_claude` is never
guarded. `claude_batches_allow_network = true` (or `--claude-batches-allow-network`) removes the guard, for suites whose
database or queue is on another host.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from importlib import import_module
from typing import Any

import pytest


class NetworkRefusedError(RuntimeError):
    """A test tried to connect to another machine. Not an OSError: code under test may handle those, and hide this."""


def pytest_addoption(parser: pytest.Parser) -> None:
    help_allow = "allow connections to other hosts in tests that use claude_emulator"
    parser.addoption("--claude-batches-allow-network", action="store_true", help=help_allow)
    parser.addini("claude_batches_allow_network", help_allow, type="bool", default=False)
    help_only = "refuse connections to other hosts in every test that is not marked live_claude"
    parser.addini("claude_batches_loopback_only", help_only, type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "live_claude: this test may reach hosts other than this machine")
    if config.getini("claude_batches_loopback_only"):
        config.pluginmanager.register(_GuardOfAll())


@pytest.fixture
def claude_emulator(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Yield a running `ClaudeEmulator`. Until the test ends, connections to other hosts are refused."""
    emulator = import_module("django_claude_batches.testing.emulator")
    with _guard(request.node), emulator.ClaudeEmulator() as claude:
        yield claude


class _GuardOfAll:
    """A separate plugin, so that other suites have no hook of this package around each test."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        with _guard(item):
            return (yield)


def _guard(item: pytest.Item) -> contextlib.AbstractContextManager[None]:
    config = item.config
    allowed = config.getini("claude_batches_allow_network") or config.getoption("claude_batches_allow_network")
    is_live = item.get_closest_marker("live_claude") is not None
    return contextlib.nullcontext() if allowed or is_live else loopback_only()


@contextlib.contextmanager
def loopback_only() -> Iterator[None]:
    """Refuse connections of Python's sockets to other machines. Unix sockets are allowed.

    If a name cannot be resolved, this raises NetworkRefusedError too: offline, code under test would handle the usual
    error as a network failure.
    """
    import socket  # noqa: PLC0415 (here: see above)

    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _check(self, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _check(self, address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return getaddrinfo(host, port, *args, **kwargs)
        except socket.gaierror:
            raise _refusal(host, port) from None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        yield


def _check(sock: Any, address: Any) -> None:
    import socket  # noqa: PLC0415 (here: see above)

    if sock.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
        raise _refusal(address[0], address[1])


def _refusal(host: Any, port: Any) -> NetworkRefusedError:
    return NetworkRefusedError(
        f"refused to connect to {host} port {port}: this test may only reach this machine. "
        "Mark it with @pytest.mark.live_claude to allow it, or set claude_batches_allow_network = true for all tests."
    )


def _is_loopback(host: str) -> bool:
    import ipaddress  # noqa: PLC0415 (here: see above)

    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name, which may resolve to any host
