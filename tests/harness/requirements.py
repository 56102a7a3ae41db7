"""Check that the servers and the browser are available that some tests need.

If one is missing, its tests fail if `CI` is set; otherwise they are skipped with a message.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from tests.browser import chromium

NONE = "none"
PROBE = "probe"
REQUIRE = "require"
PORTS = {"postgres": 5432, "postgresql": 5432, "mysql": 3306, "redis": 6379, "amqp": 5672}
SECONDS = 2.0


@dataclass(frozen=True)
class Service:
    name: str
    url: str

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "127.0.0.1", parts.port or PORTS[parts.scheme]

    def answers(self) -> bool:
        try:
            socket.create_connection(self.address, timeout=SECONDS).close()
        except OSError:
            return False
        return True


# Database 9, because 0 may be in use.
BY_MARKER = {
    "redis": Service("Redis", os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/9")),
    "rabbitmq": Service("RabbitMQ", os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")),
}


def database() -> Service | None:
    """Return the database server of this lane; None on SQLite."""
    url = os.environ.get("DATABASE_URL", "")
    if not url or url.startswith("sqlite"):
        return None
    return Service({"mysql": "MariaDB"}.get(urlsplit(url).scheme, "PostgreSQL"), url)


def policy(option: str | None) -> str:
    return option or (REQUIRE if os.environ.get("CI") else PROBE)


class Gate:
    """Skips or fails a test whose servers do not answer; each server is asked once in a process."""

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self._answers: dict[Service, bool] = {}

    def pass_or_skip(self, item: pytest.Item) -> None:
        needed = [service for marker, service in BY_MARKER.items() if item.get_closest_marker(marker)]
        if (server := database()) is not None:
            needed.append(server)
        for service in needed:
            self.need(service)
        if item.get_closest_marker("browser"):
            missing = chromium.why_not()
            self.need_that(not missing, "a browser", missing)

    def need(self, service: Service) -> None:
        """Skip the test, or fail it, unless this server answers."""
        if service not in self._answers:
            self._answers[service] = self.policy != NONE and service.answers()
        host, port = service.address
        self.need_that(self._answers[service], service.name, f"nothing answers on {host}:{port}")

    def need_that(self, is_there: bool, name: str, why_not: str) -> None:
        """Skip the test, or fail it, unless the requirement is met."""
        if self.policy == NONE:
            pytest.skip(f"needs {name}, and --services=none was given")
        if is_there:
            return
        if self.policy == REQUIRE:
            pytest.fail(f"needs {name}, and {why_not}", pytrace=False)
        pytest.skip(f"needs {name}, and {why_not}")
