"""The selection of tests: each test that `python -m pytest` leaves out is run by a lane of CI."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.harness.selections import DEFAULT, LEFT_OUT, ROOT, Selection, pytest_commands, selection_of, selections

PLANTED = """
import pytest

@pytest.mark.benchmark
def test_planted() -> None: ...
"""


def collect(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-n0", "--collect-only", "-qq", "-p", "no:hypothesispytest", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)


@pytest.fixture
def planted() -> Iterator[Path]:
    """A test that no lane runs: a `benchmark` outside tests/benchmarks, in a file that is collected only by name."""
    path = ROOT / "tests/browser/planted_without_a_lane.py"
    path.write_text(PLANTED)
    yield path
    path.unlink()


def test_a_test_without_a_lane_is_an_error(planted: Path) -> None:
    ran = collect(str(planted))
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    said = ran.stdout + ran.stderr
    assert "1 tests are run neither by `python -m pytest` nor by a lane of .ci/lanes.py:" in said
    assert "tests/browser/planted_without_a_lane.py::test_planted" in said


@pytest.mark.slow
def test_each_test_has_a_lane() -> None:
    ran = collect("-m", "fault or not fault")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "tests/reliability/" in ran.stdout


@pytest.mark.parametrize(
    ("command", "selection"),
    [
        ("python -m pytest", Selection(DEFAULT)),
        ("python -m pytest -m database {posargs}", Selection("database")),
        ('python -m pytest -m {posargs:"database and not slow"}', Selection("database and not slow")),
        ("python -m pytest -n0 -m benchmark {posargs:tests/benchmarks}", Selection("benchmark", ("tests/benchmarks",))),
        ('pytest -m "not slow" --ignore=tests/a tests/b', Selection("not slow", ("tests/b",), ("tests/a",))),
        ("env A=b python -m pytest -n0 -p tests.plugin -m database tests/b", Selection("database", ("tests/b",))),
        ("pytest -c /dev/null --rootdir=x --noconftest -v tests/b", Selection(DEFAULT, ("tests/b",))),
        ("pytest -n 4 --rootdir x -o a=b tests/b -k redis", Selection(DEFAULT, ("tests/b",))),
    ],
)
def test_the_selection_of_a_command(command: str, selection: Selection) -> None:
    assert selection_of(command) == selection


TOX = """
[testenv]
commands =
    sqlite: pytest of_sqlite
    postgres, mariadb: pytest of_servers
[testenv:lint]
commands = ruff check
[testenv:clients-{old,new}]
commands =
    pytest clients
    old: pytest \\
      of_old
[testenv:{a,b}-{c,d}]
commands = pytest of_four
"""


@pytest.mark.parametrize(
    ("environment", "commands"),
    [
        ("py311-sqlite", ["pytest of_sqlite"]),
        ("py311-mariadb", ["pytest of_servers"]),
        ("lint", []),
        ("clients-new", ["pytest clients"]),
        ("clients-old", ["pytest clients", "pytest of_old"]),
        ("clients-old,clients-new", ["pytest clients", "pytest of_old", "pytest clients"]),
        ("b-c", ["pytest of_four"]),
    ],
)
def test_the_pytest_commands_of_environments(environment: str, commands: list[str]) -> None:
    tox = ConfigParser(interpolation=None)
    tox.read_string(TOX)
    assert [" ".join(command.split()) for command in pytest_commands(environment, tox)] == commands


def test_the_lanes_of_neighbours_and_clients_are_read_as_they_run() -> None:
    paths = {path for one in selections() for path in one.paths}
    assert {"tests/services/ingestion/test_hostile_results.py", "tests/testing/test_clients.py"} <= paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    ("path", "markers", "is_in"),
    [
        ("tests/b/test_x.py", {"database"}, True),
        ("tests/b/test_x.py", {"database", "slow"}, False),
        ("tests/b/test_x.py", set(), False),
        ("tests/bc/test_x.py", {"database"}, False),
        ("tests/b/ignored/test_x.py", {"database"}, False),
    ],
)
def test_a_selection_has_what_its_marks_and_paths_say(path: str, markers: set[str], is_in: bool) -> None:
    selection = Selection("database and not slow", ("tests/b",), ("tests/b/ignored",))
    assert selection.has(path, markers) is is_in


def test_what_python_m_pytest_leaves_out_is_run_by_a_lane() -> None:
    places = {
        "process": "services",
        "slow": "services",
        "fault": "reliability",
        "browser": "browser",
        "neighbour": "neighbours",
        "benchmark": "benchmarks",
    }
    assert places.keys() == set(LEFT_OUT)
    for marker, folder in places.items():
        assert any(one.has(f"tests/{folder}/test_x.py", {marker}) for one in selections()), marker
