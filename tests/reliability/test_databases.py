"""Database servers that go away under a worker, and come back."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_claude_batches.models import MessageBatch
from tests.making import running
from tests.reliability import databases
from tests.reliability.conftest import Own
from tests.reliability.databases import MARIADB, POSTGRES
from tests.reliability.servers import BY_DATABASE, PostgreSQL, Redis, Server
from tests.reliability.site import Site

pytestmark = pytest.mark.process

MANY = 5_000


@pytest.fixture
def server(database: str, own: Own) -> Server:
    return own(BY_DATABASE[database])


@pytest.fixture
def database_url(database: str, server: Server, tmp_path: Path) -> Iterator[str]:
    """A database on a server that may be killed."""
    with databases.new(database, tmp_path, server=server.url) as url:
        yield url


def fetching(site: Site) -> MessageBatch:
    """A batch whose results come so slowly that things can happen meanwhile, with a worker at it."""
    batch = running(MANY)
    site.claude.finish()
    site.claude.fault("trickle", on="results", piece_bytes=65_536, pause=0.1)
    site.let_time_come()
    site.team()
    site.until_in_mid_ingest(batch)
    return batch


def restarted(site: Site, server: Server, how: signal.Signals) -> None:
    """Restart the server while results are fetched; what was committed is there, and the rest comes."""
    batch = fetching(site)
    server.restart(how)
    site.reconnect()
    site.assert_in_mid_ingest(batch)
    site.let_time_come()
    site.until(site.is_complete, do=site.let_due_times_come)
    site.check()


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
