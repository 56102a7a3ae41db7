"""Select tests: those that `python -m pytest` leaves out, and the lanes of CI that run them.

The lanes are environments of tox.ini, and `.ci/lanes.py` names them. A test that neither `python -m pytest` nor one of
these lanes would run is an error when it is collected.
"""

from __future__ import annotations

import argparse
import os
import re
import runpy
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
LANES = ROOT / ".ci/lanes.py"

LEFT_OUT = ("process", "fault", "slow", "browser", "neighbour", "benchmark")

# The marker expression of `python -m pytest`.
DEFAULT = f"not ({' or '.join(LEFT_OUT)})"

# Options of pytest whose value may be the next argument, which is then not a path.
WITH_VALUE = ("-c", "-k", "-n", "-o", "-p", "--rootdir")


@dataclass(frozen=True)
class Selection:
    """The tests that a lane runs: a marker expression, and the paths it names and ignores, relative to the root."""

    expression: str
    paths: tuple[str, ...] = ("tests",)
    ignored: tuple[str, ...] = ()

    def has(self, path: str, markers: Iterable[str]) -> bool:
        if not is_below(path, self.paths) or is_below(path, self.ignored):
            return False
        names = defaultdict(bool, dict.fromkeys(markers, True))
        # A marker expression without arguments is also a Python expression.
        return not self.expression or bool(eval(self.expression, {"__builtins__": {}}, names))


def slow_but(few: int, values: Iterable[Any]) -> list[Any]:
    """Return the values of a parameter, or tuples of several; all but the first few are marked `slow`."""
    params = [value if isinstance(value, tuple) else (value,) for value in values]
    return [pytest.param(*param, marks=pytest.mark.slow if few <= at else ()) for at, param in enumerate(params)]


def is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder.rstrip('/')}/") for folder in folders)


def selection_of(command: str) -> Selection:
    """Read the selection of a pytest command."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-m", default=DEFAULT)
    for option in WITH_VALUE:
        parser.add_argument(option, dest="_others", action="append")
    parser.add_argument("--ignore", action="append", default=[])
    parser.add_argument("paths", nargs="*")
    words = shlex.split(re.sub(r"\{posargs:?(.*?)\}", r"\1", command.partition("pytest")[2]))
    known, _others = parser.parse_known_args(words)
    return Selection(known.m, tuple(known.paths) or ("tests",), tuple(known.ignore))


def pytest_commands(environments: str, tox: ConfigParser) -> Iterator[str]:
    """Return the pytest commands of tox environments; their lines may begin with factors."""
    sections = {name: section for section in tox.sections() for name in _expanded(section)}
    for environment in environments.split(","):
        section = sections.get(f"testenv:{environment}", "testenv")
        for line in tox.get(section, "commands").replace("\\\n", " ").splitlines():
            factors, command = re.fullmatch(r"(?:([\w, ]+): )?(.*)", line.strip()).groups()  # type: ignore[union-attr]
            is_meant = factors is None or {*factors.split(", ")} & {*environment.split("-")}
            if is_meant and "pytest" in command:
                yield command


def _expanded(section: str) -> list[str]:
    """Return the names of a section of tox.ini, with `{old,new}` expanded."""
    before, brace, after = section.partition("{")
    if not brace:
        return [section]
    each, _brace, rest = after.partition("}")
    return [f"{before}{one.strip()}{end}" for one in each.split(",") for end in _expanded(rest)]


@cache
def selections() -> list[Selection]:
    """Return what `python -m pytest` runs, and what the lanes run."""
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    environments = [lane.environment for lane in runpy.run_path(str(LANES))["LANES"]]
    commands = [command for name in environments if name for command in pytest_commands(name, tox)]
    return [Selection(DEFAULT), *map(selection_of, commands)]


def homeless(items: Iterable[pytest.Item]) -> list[str]:
    """Return the tests that are in no selection."""
    return [item.nodeid for item in items if not any(one.has(*traits(item)) for one in selections())]


def traits(item: pytest.Item) -> tuple[str, set[str]]:
    return item.path.relative_to(ROOT).as_posix(), {marker.name for marker in item.iter_markers()}


def named(config: pytest.Config) -> list[Path]:
    """Return the files and folders named on the command line, except `tests` itself."""
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        return []
    paths = [(config.invocation_params.dir / argument.partition("::")[0]).resolve() for argument in config.args]
    return [path for path in paths if path not in {ROOT, TESTS}]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Start no workers for named files: that would take longer than the tests.

    Otherwise start one more than there are cores, since some test waits for a fifth of the time.
    """
    paths = named(config)
    if paths and all(path.is_file() for path in paths):
        return 0
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else (os.cpu_count() or 1) + 1


def choose(config: pytest.Config) -> None:
    """Without `-m`, deselect tests that take long; of named files, only those that measure."""
    if config.option.markexpr:
        return
    paths = named(config)
    if not paths:
        config.option.markexpr = DEFAULT
    elif not all(path.is_file() for path in paths):
        config.option.markexpr = "not benchmark"


def is_worker(config: pytest.Config) -> bool:
    return "PYTEST_XDIST_WORKER" in os.environ and hasattr(config, "workerinput")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if is_worker(config):
        return
    if strays := homeless(items):
        some = "\n".join(strays[:10])
        raise pytest.UsageError(
            f"{len(strays)} tests are run neither by `python -m pytest` nor by a lane of .ci/lanes.py:\n{some}"
        )


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Print at the end which tests were left out, and how to run them."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not is_worker(config) and config.option.markexpr == DEFAULT:
        kinds = ", ".join(LEFT_OUT[:-1])
        reporter.write_line(
            f"Left out: tests marked {kinds} or {LEFT_OUT[-1]}. Run those of one marker with: python -m pytest -m slow"
        )
