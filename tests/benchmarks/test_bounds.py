from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks.bench import Bench
from tests.benchmarks.bounds import Bound, bounds
from tests.benchmarks.figures import LIMIT, OURS, PEER, Run
from tests.benchmarks.stub.process import StubProcess
from tests.benchmarks.subjects import jobs, lists, polling, sizes


def of(kind: str = "postgres", count: int = 10_000, compression: str = "pglz") -> Bench:
    return Bench(kind, count, 1, {}, StubProcess(0), compression=compression)


def ran(seconds: float, peak_mb: float = 60, base_mb: float = 58, rows: int = 10_000, **facts: Any) -> Run:
    return Run(rows, seconds, peak_mb, base_mb, facts)


def found(bench: Bench, beginning: str) -> Bound:
    (bound,) = [bound for bound in bounds(bench) if bound.text.startswith(beginning)]
    return bound


def test_a_bound_holds_at_its_limit_and_within_the_margin() -> None:
    assert Bound("", 1.5, 1.5, at_most=True).holds()
    assert not Bound("", 1.6, 1.5, at_most=True).holds()
    assert Bound("", 1.9, 1.5, at_most=True).holds(1.3)
    assert not Bound("", 2.0, 1.5, at_most=True).holds(1.3)
    assert Bound("", 2.4, 3).holds(1.3)
    assert not Bound("", 2.2, 3).holds(1.3)
    assert not Bound("", 11, 10, at_most=True, exact=True).holds(1.3)


@pytest.mark.parametrize(("compression", "must"), [("lz4", 4.5), ("pglz", 3)])
def test_ingesting_is_held_against_the_peer_by_compression(compression: str, must: float) -> None:
    bench = of(compression=compression)
    for seconds in (9.0, 1.0, 2.0):  # the median counts
        bench.figures.add("ingest", OURS, ran(seconds))
    bench.figures.add("ingest", PEER, ran(8))
    bound = found(bench, "ingest, faster than the peer")
    assert (bound.value, bound.limit, bound.at_most) == (4, must, False)


def test_ingesting_is_held_against_psql() -> None:
    bench = of()
    bench.figures.add("ingest", OURS, ran(3))
    bench.figures.add("ingest", LIMIT, ran(2))
    bound = found(bench, "ingest, of psql")
    assert (bound.value, bound.limit, bound.at_most) == (1.5, 1.5, True)


def test_memory_is_that_of_the_worst_run_of_the_worst_step() -> None:
    bench = of()
    bench.figures.add("draft", OURS, ran(1, peak_mb=70, base_mb=60))
    bench.figures.add("submit", OURS, ran(1, peak_mb=60, base_mb=58))
    bench.figures.add("submit", OURS, ran(1, peak_mb=90, base_mb=58))
    bound = found(bench, "memory of any step (submit), beyond its base")
    assert (bound.value, bound.limit) == (32, 25)


def test_the_longer_batch_may_take_a_little_more_memory() -> None:
    bench = of(count=100_000)
    bench.figures.sizes |= {10_000, 100_000}
    bench.figures.add(sizes.sized("ingest", 10_000), OURS, ran(1, peak_mb=60))
    bench.figures.add(sizes.sized("ingest", 100_000), OURS, ran(20, peak_mb=66, rows=100_000))
    assert not found(bench, "memory of ingest, 100,000, beyond that of 10,000").holds()
    assert found(bench, "ingest, 100,000, rows per second of 10,000").value == 0.5


def test_the_peer_s_memory_counts_whole_only_for_a_large_body() -> None:
    small, large = of(), of(count=100_000)
    for bench, peak_mb in ((small, 187), (large, 925)):
        bench.figures.add("submit", OURS, ran(1, peak_mb=60, base_mb=58))
        bench.figures.add("submit", PEER, ran(3, peak_mb=peak_mb, base_mb=101))
    assert found(small, "memory of submit").value == 2 / 86
    assert found(large, "memory of submit").value == 60 / 925


def test_a_resume_is_held_against_the_first_ingest_and_may_not_grow_the_table() -> None:
    bench = of()
    bench.figures.add("ingest", OURS, ran(10))
    bench.figures.add("resume", OURS, ran(2, grown=8192))
    assert found(bench, "resume, faster").holds()
    assert not found(bench, "resume, the table's growth").holds(1.3)


def test_polling_is_held_by_requests_and_by_time() -> None:
    bench = of("sqlite")
    ways = {OURS: 0.1, PEER: 4, polling.LIST: 0.01, polling.GETS: 1}
    for way, seconds in ways.items():
        bench.figures.add("poll", way, ran(seconds, requests=3))
    assert not found(bench, "poll of 1,000 batches, requests").holds(1.3)
    assert found(bench, "poll, the calls alone").value == pytest.approx(100)
    bench.latency = 50
    assert found(bench, "poll, faster than the peer").value == pytest.approx(40)


def test_one_long_line_is_held_where_the_database_is_another_process() -> None:
    for kind, holds in (("postgres", [False]), ("sqlite", [])):
        bench = of(kind)
        bench.figures.add("ingest" + sizes.LONG_LINE, OURS, ran(1, peak_mb=300, base_mb=60))
        long = [bound for bound in bounds(bench) if "32 MB" in bound.text]
        assert [bound.holds(1.3) for bound in long] == holds


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_the_check_of_a_large_record_is_held_on_its_own(kind: str) -> None:
    bench = of(kind)
    bench.figures.add(sizes.CHECK_FILE + "wide", OURS, ran(1, peak_mb=260, base_mb=60))
    [bound] = [bound for bound in bounds(bench) if "check a file" in bound.text]
    assert (bound.value, bound.limit, bound.at_most) == (200, 128, True)


def test_a_list_is_timed_only_at_a_million_rows() -> None:
    small, large = of(), of(count=1_000_000)
    for bench in (small, large):
        bench.figures.add("list: all", OURS, ran(0.03, queries=11))
        bench.figures.add("list: all", lists.PLAIN, ran(0.04, queries=7))
    assert not found(small, "list: all, queries").holds(1.3)
    assert [bound for bound in bounds(small) if "plain" in bound.text] == []
    assert found(large, "list: all, of a plain ModelAdmin").value == pytest.approx(0.75)


def test_a_delivery_is_held_against_the_same_handler_in_a_loop() -> None:
    bench = of()
    step = sizes.sized(jobs.DELIVER, 10_000)
    bench.figures.add(step, OURS, ran(8))
    bench.figures.add(step, jobs.LOOP, ran(2))
    bound = found(bench, "deliver, of a plain loop")
    assert (bound.value, bound.limit, bound.at_most) == (4, 3, True)


@pytest.mark.parametrize("step", jobs.STEPS)
def test_more_rows_may_take_a_little_more_memory(step: str) -> None:
    bench = of(count=250_000)
    bench.figures.sizes |= {10_000, 250_000}
    bench.figures.add(sizes.sized(step, 10_000), OURS, ran(1, peak_mb=80))
    bench.figures.add(sizes.sized(step, 250_000), OURS, ran(25, peak_mb=86, rows=250_000))
    assert not found(bench, f"memory of {step}, 250,000, beyond that of 10,000").holds()


def test_what_was_not_measured_has_no_bounds() -> None:
    assert list(bounds(of())) == []
