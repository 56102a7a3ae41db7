"""Each row has one effect, whatever happens to the processes that deliver results."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from django_claude_batches import services
from django_claude_batches.models import DeliveryChunk, FailedDelivery, MessageBatch
from tests.harness.databases import MARIADB, POSTGRES
from tests.harness.library.models import Review
from tests.harness.shop import effects, fetched, job, let_time_come, reviews
from tests.reliability.kills.delivery import CHECKED
from tests.reliability.site import Site

pytestmark = pytest.mark.process


def ready(site: Site, count: int) -> list[int]:
    """Create a batch with this number of answered rows and none delivered; return its chunks."""
    reviews(count)
    fetched(job().start(), site.claude)  # type: ignore[arg-type]
    return list(DeliveryChunk.objects.order_by("pk").values_list("pk", flat=True))


def handing(site: Site, chunks: list[int], mishap: str = "none", row: int = 0) -> subprocess.Popen[bytes]:
    return site.start("-m", "tests.reliability.kills.delivery", mishap, str(row), *map(str, chunks))


def row_at(place: int) -> int:
    pk: int = Review.objects.order_by("pk").values_list("pk", flat=True)[place]
    return pk


@pytest.mark.fault(
    "A process that delivers results is killed in the middle of a chunk",
    "SIGKILL in a handler, after other handlers have written; the lease is aged, and another process takes over",
)
def test_killed_in_mid_chunk(site: Site, database: str, trial: int) -> None:
    chunks = ready(site, 40)
    assert handing(site, chunks, "killed", row_at(25)).wait(timeout=60) == -signal.SIGKILL, site.said()
    assert effects() == [0] * 40, "what the dead process wrote is undone"
    assert handing(site, chunks).wait(timeout=60) == 0, site.said()
    assert effects() == [0] * 40, "its lease still holds"
    let_time_come()
    assert handing(site, chunks).wait(timeout=60) == 0, site.said()
    assert effects() == [1] * 40
    assert DeliveryChunk.objects.get().delivered_count == 40


@pytest.mark.fault(
    "A process that delivers results is killed while it checks an answer",
    "SIGKILL before the transaction; the lease is aged, and another process takes over",
)
def test_killed_while_an_answer_is_checked(site: Site, database: str, trial: int) -> None:
    chunks = ready(site, 40)
    assert handing(site, chunks, CHECKED, row_at(25)).wait(timeout=60) == -signal.SIGKILL, site.said()
    assert effects() == [0] * 40
    let_time_come()
    assert handing(site, chunks).wait(timeout=60) == 0, site.said()
    assert effects() == [1] * 40


@pytest.mark.fault(
    "A process that delivers results is suspended, and wakes up when another has its chunk",
    "SIGSTOP between two transactions; the lease is aged, another process delivers the rest; SIGCONT",
)
def test_suspended_between_two_transactions(site: Site, database: str, trial: int) -> None:
    chunks = ready(site, 6)
    DeliveryChunk.objects.update(failures=2)  # so that each row has a transaction of its own
    late = handing(site, chunks, "stopped", row_at(1))
    site.until(lambda: is_stopped(late))
    assert effects() == [1, 1, 0, 0, 0, 0]
    let_time_come()
    assert handing(site, chunks).wait(timeout=60) == 0, site.said()
    os.kill(late.pid, signal.SIGCONT)
    assert late.wait(timeout=60) == 0, site.said()
    assert effects() == [1] * 6


def is_stopped(process: subprocess.Popen[bytes]) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].startswith("T")


@pytest.mark.fault(
    "Several processes want the same chunks at the same time",
    "four processes start together, each with all chunks of a batch, in different orders",
)
def test_a_race(site: Site, database: str, trial: int) -> None:
    chunks = ready(site, 2_100)
    assert len(chunks) == 3
    orders: list[list[int]] = [chunks, chunks[::-1], chunks, chunks[1:] + chunks[:1]]
    processes = [handing(site, order) for order in orders]
    assert [process.wait(timeout=90) for process in processes] == [0] * 4, site.said()
    assert set(effects()) == {1}


@pytest.mark.fault(
    "Two processes deliver two chunks of a batch",
    "each waits in a handler until the other is in its own; SQLite has one writer at a time",
    on=(POSTGRES, MARIADB),
)
def test_side_by_side(site: Site, database: str, trial: int) -> None:
    first, second = ready(site, 1_050)
    assert meeting(site, first, second, crossing=False) == [0, 0], site.said()
    assert set(effects()) == {1}
    services.redeliver(MessageBatch.objects.get())
    first, second = DeliveryChunk.objects.filter(mode="redeliver").order_by("pk").values_list("pk", flat=True)
    for name in ("one", "other"):
        (site.folder / name).unlink(missing_ok=True)
    assert meeting(site, first, second, crossing=False) == [0, 0], site.said()
    assert set(effects()) == {2}


@pytest.mark.fault(
    "Two handlers deadlock",
    "each writes to a row that the other one has locked: the server ends one transaction, on MariaDB with all that "
    "was in it",
    on=(POSTGRES, MARIADB),
)
def test_a_deadlock(site: Site, database: str, trial: int) -> None:
    first, second = ready(site, 1_050)
    assert sorted(meeting(site, first, second, crossing=True)) == [0, 1], site.said()
    assert "deadlock" in DeliveryChunk.objects.get(done_at=None).last_error.lower()
    assert set(effects()) == {0, 1}
    let_time_come()
    assert handing(site, [first, second]).wait(timeout=60) == 0, site.said()
    assert set(effects()) == {1}
    assert FailedDelivery.objects.count() == 0


def meeting(site: Site, first: int, second: int, *, crossing: bool) -> list[int]:
    """Let two processes be in the middle of their chunks at the same time; return their exit statuses."""
    one, other = (str(site.folder / name) for name in ("one", "other"))
    mine, its = row_at(3), row_at(1_003)
    processes = [
        handing(site, [first], f"{one}:{other}:{its if crossing else mine}", mine),
        handing(site, [second], f"{other}:{one}:{mine if crossing else its}", its),
    ]
    return [process.wait(timeout=60) for process in processes]


@pytest.mark.fault(
    "Processes that deliver results are killed one after the other",
    "SIGKILL in a handler, each time for a later row; the lease is aged; the last process is not killed",
)
def test_killed_again_and_again(site: Site, database: str, trial: int) -> None:
    chunks = ready(site, 30)
    for place in (20, 5, 25, 29):
        assert handing(site, chunks, "killed", row_at(place)).wait(timeout=60) == -signal.SIGKILL, site.said()
        let_time_come()
    assert handing(site, chunks).wait(timeout=60) == 0, site.said()
    assert effects() == [1] * 30
