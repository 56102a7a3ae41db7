"""A job's workers killed at random. For full batches: `python -m tests.reliability.kills.many_rows`."""

from __future__ import annotations

from random import Random

import pytest

from tests.harness.databases import POSTGRES
from tests.reliability.kills.many_rows import fill, run_through, show
from tests.reliability.kills.worker_kills import Shooting
from tests.reliability.servers import Redis
from tests.reliability.site import Site

pytestmark = pytest.mark.process

ROWS, MOST, PIECE = 2500, 1000, 50


@pytest.mark.timeout(300)
@pytest.mark.fault(
    "Workers of a job are killed",
    f"SIGKILL at random while {ROWS:,} rows are drafted, sent, stored and delivered; each row has one effect",
    on=[POSTGRES],
)
def test_each_row_has_one_effect(site: Site, broker: Redis, trial: int) -> None:
    site.environment |= {"MAX_IN_FLIGHT_REQUESTS": str(MOST), "CHUNKS": str(PIECE)}
    fill(ROWS)
    seed = trial + 1
    shooting = Shooting(site, Random(seed), ROWS, shots=10, seconds=4)
    # 25 seconds on an idle machine; a lost message waits for the next tick.
    seen = run_through(site, shooting, seconds=240, most=MOST)
    show(seen, shooting, seed=seed)
    assert seen.violations == []
