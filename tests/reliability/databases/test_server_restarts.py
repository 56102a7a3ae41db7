"""Database servers that are restarted or killed while a worker uses them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import databases
from tests.harness.databases import MARIADB, POSTGRES
from tests.reliability.conftest import Own
from tests.reliability.mid_ingest import (
    about_to_be_fetched,
    assert_in_mid_ingest,
    complete_and_check,
    until_in_mid_ingest,
)
from tests.reliability.servers import BY_DATABASE, PostgreSQL, Redis, Server
from tests.reliability.site import Site

pytestmark = pytest.mark.process


@pytest.fixture
def server(database: str, own: Own) -> Server:
    return own(BY_DATABASE[database])


@pytest.fixture
def database_url(database: str, server: Server, tmp_path: Path) -> Iterator[str]:
    """A database on a server that may be killed."""
    with databases.new(database, tmp_path, server=server.url) as url:
        yield url


def restarted(site: Site, server: Server, how: signal.Signals) -> None:
    """Restart the server while results are fetched; committed rows stay, and the others are fetched again."""
    batch = about_to_be_fetched(site)
    site.team()
    until_in_mid_ingest(site, batch)
    server.restart(how)
    site.reconnect()
    assert_in_mid_ingest(site, batch)
    site.let_time_come()
    complete_and_check(site)


@pytest.mark.fault(
    "The database server is restarted in mid-ingest",
    "its own signal for it (immediate mode on PostgreSQL); then the lease of 5 minutes is aged",
    on=[POSTGRES, MARIADB],
)
def test_restarted(site: Site, server: Server, broker: Redis, trial: int) -> None:
    restarted(site, server, PostgreSQL.immediate if isinstance(server, PostgreSQL) else signal.SIGTERM)


@pytest.mark.fault(
    "The database server is killed in mid-ingest",
    "SIGKILL, then a start with its recovery; then the lease of 5 minutes is aged",
    on=[MARIADB],
)
def test_killed(site: Site, server: Server, broker: Redis, trial: int) -> None:
    restarted(site, server, signal.SIGKILL)
