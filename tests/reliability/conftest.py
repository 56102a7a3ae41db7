"""Count each test of a fault as a trial, repeat it with `--trials`, and print the table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pytest_django.plugin import DjangoDbBlocker

from django_claude_batches.testing import EmulatorProcess
from tests.conftest import GATE
from tests.harness import databases
from tests.harness.requirements import Gate
from tests.harness.selections import slow_but
from tests.reliability.servers import Redis, Server
from tests.reliability.site import Site

TAKES_LONGEST = {"test_crash_points", "test_job_runs", "test_many_rows", "test_celery_workers", "test_pooler"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize a test with `database`: those of its mark `fault`, each `--trials` times.

    Only the first is run for each change; the others are `slow`, and run with `.ci/run --everything`.
    """
    fault = metafunc.definition.get_closest_marker("fault")
    if fault is None:
        return
    if "database" in metafunc.fixturenames:
        metafunc.parametrize("database", slow_but(1, fault.kwargs.get("on", databases.ALL)))
    trials = metafunc.config.getoption("--trials")
    metafunc.parametrize("trial", range(trials), ids=[f"trial{number}" for number in range(trials)])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest tests: at the end all other workers would wait for them."""
    items.sort(key=lambda item: item.path.stem not in TAKES_LONGEST)


def pytest_runtest_setup(item: pytest.Item) -> None:
    fault = item.get_closest_marker("fault")
    if fault is not None and fault.args:
        database = item.callspec.params.get("database", "")  # type: ignore[attr-defined]
        item.user_properties.append(("fault", (*fault.args, database)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table of docs/reliability.md: each fault, its databases, its trials, and how many of them held."""
    passed, failed = (_trials(terminalreporter.getreports(outcome)) for outcome in ("passed", "failed"))
    if passed or failed:
        terminalreporter.write_line(
            "\n| Fault | How it is made | On | Trials | Held |\n| --- | --- | --- | --- | --- |"
        )
    for fault, how in sorted({*passed, *failed}):
        on = Counter(passed[fault, how]) + Counter(failed[fault, how])
        where = ", ".join(f"{name} {count}" for name, count in sorted(on.items()) if name)
        held = len(passed[fault, how])
        terminalreporter.write_line(f"| {fault} | {how} | {where} | {on.total()} | {held} |")


def _trials(reports: list[pytest.TestReport]) -> dict[tuple[str, str], list[str]]:
    """Return the databases of the trials of each fault."""
    trials = defaultdict(list)
    for report in reports:
        for name, value in report.user_properties:
            if name == "fault" and (report.when == "call" or report.failed):
                fault, how, database = value  # type: ignore[misc]
                trials[str(fault), str(how)].append(str(database))
    return trials


@pytest.fixture
def trial(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def tried(request: pytest.FixtureRequest, database: str) -> Callable[[str, str], None]:
    """Return a function that counts a trial, by its fault and how it was made, for tests that make many."""
    return lambda fault, how: request.node.user_properties.append(("fault", (fault, how, database)))


def need_driver(gate: Gate, database: str) -> None:
    """Skip the test, or fail it, unless this database's driver is installed, which is an extra."""
    gate.need_that(databases.has_driver(database), database, "its driver, an extra, is not installed")


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Return the URL of a database of that kind, created at its first use and dropped at the end."""
    urls = dict[str, str]()
    with ExitStack() as made:

        def url_of(kind: str) -> str:
            if kind not in urls:
                urls[kind] = made.enter_context(databases.new(kind, tmp_path_factory.mktemp("databases")))
            return urls[kind]

        yield url_of


@pytest.fixture
def database_url(database: str, kept: Callable[[str], str], request: pytest.FixtureRequest) -> str:
    """Return the URL of a database; it has the data of earlier tests until a `Site` is entered."""
    if database in databases.SERVERS:
        need_driver(request.config.stash[GATE], database)
        request.config.stash[GATE].need(databases.SERVERS[database])
    return kept(database)


@pytest.fixture
def claude_process(tmp_path: Path) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(state=tmp_path / "emulator.json") as claude:
        yield claude


@pytest.fixture
def site(
    database_url: str, tmp_path: Path, claude_process: EmulatorProcess, django_db_blocker: DjangoDbBlocker
) -> Iterator[Site]:
    with django_db_blocker.unblock(), Site(database_url, tmp_path, claude_process).open() as site:
        yield site


Own = Callable[[type[Server]], Server]


@pytest.fixture(scope="session")
def own(request: pytest.FixtureRequest) -> Iterator[Own]:
    """Start a separate server at its first use; some tests restart it, and it is ended after all tests."""
    gate, started = request.config.stash[GATE], dict[type[Server], Server]()
    with ExitStack() as running:

        def start(kind: type[Server]) -> Server:
            need_driver(gate, kind.name)
            gate.need_that(kind.is_installed(), kind.name, f"{kind.program} is not installed")
            if kind not in started:
                started[kind] = running.enter_context(kind())
            return started[kind]

        yield start


@pytest.fixture
def broker(site: Site, request: pytest.FixtureRequest) -> Iterator[Redis]:
    """A Redis of the site's own, empty."""
    gate = request.config.stash[GATE]
    gate.need_that(Redis.is_installed(), Redis.name, f"{Redis.program} is not installed")
    with Redis() as redis:
        site.environment["BROKER_URL"] = redis.url
        yield redis
        site.stop()
