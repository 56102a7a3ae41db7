"""Workers behind a transaction pooler. By hand, and with more: `python -m tests.reliability.databases.pooler`."""

from __future__ import annotations

import pytest

from tests.harness.databases import POSTGRES
from tests.reliability.conftest import Own
from tests.reliability.databases.pooler import PROCESSES, show, storm
from tests.reliability.servers import PgBouncer
from tests.reliability.site import Site

pytestmark = pytest.mark.process

BATCHES, REQUESTS = 150, 30


@pytest.fixture
def pooler(own: Own) -> PgBouncer:
    pooler = own(PgBouncer)
    assert isinstance(pooler, PgBouncer)
    return pooler


@pytest.mark.timeout(300)
@pytest.mark.fault(
    "Workers behind a transaction pooler",
    f"PgBouncer, {PROCESSES} forked processes, {BATCHES} batches of {REQUESTS} requests, Django's default settings: "
    "each result, and each answer that a receiver stores, is its own request's",
    on=[POSTGRES],
)
def test_each_result_is_linked_to_its_own_request(pooler: PgBouncer, site: Site, database_url: str, trial: int) -> None:
    seen = storm(site, pooler.url_of(database_url), batches=BATCHES, requests=REQUESTS)
    show(seen)
    assert seen.violations == [], site.said()
