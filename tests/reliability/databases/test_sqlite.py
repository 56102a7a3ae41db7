"""SQLite: a worker writes while people use the admin, without errors that the database is locked."""

from __future__ import annotations

import pytest

from django_claude_batches.models import MessageBatch
from tests.harness.databases import SQLITE
from tests.harness.factories import draft
from tests.reliability.mid_ingest import MANY, about_to_be_fetched, until_in_mid_ingest
from tests.reliability.servers import Redis
from tests.reliability.site import Site
from tests.reliability.web import BATCH, BATCHES, Visitor

pytestmark = pytest.mark.process

RESULTS = "admin:django_claude_batches_batchresult_changelist"
ROUNDS = 3


@pytest.mark.fault(
    "A worker and a web process use one SQLite file",
    f"{MANY:,} results are stored while lists and pages of the admin are opened and drafts are submitted; each answer "
    "is 200, within 20 s",
    on=[SQLITE],
)
def test_people_work_while_the_worker_writes(site: Site, broker: Redis, trial: int) -> None:
    visitor = Visitor(site)
    visitor.arrive()
    drafts = [draft(3) for _ in range(ROUNDS)]
    batch = about_to_be_fetched(site, pause=0.3)
    site.team()
    until_in_mid_ingest(site, batch)
    counts = [visit(site, visitor, batch, each) for each in drafts]
    assert 0 < counts[0] < MANY, f"the trial is void: {counts} of {MANY} stored"
    site.until(site.is_complete, do=lambda: (site.let_due_times_come(), site.claude.finish()))
    site.check()
    assert visitor.slowest < 20
    assert "locked" not in site.said()


def visit(site: Site, visitor: Visitor, batch: MessageBatch, each: MessageBatch) -> int:
    """Read pages and submit a draft; return how many results were stored by then."""
    assert str(MANY) in visitor.opens(BATCHES).replace(",", "")
    visitor.opens(BATCH, batch.pk)
    visitor.opens(RESULTS)
    assert "1" in visitor.does("submit", each.pk)
    each.refresh_from_db()
    assert each.queued_at is not None
    return site.stored(batch)
