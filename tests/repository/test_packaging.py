from __future__ import annotations

import re
import tomllib
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import pytest

import django_claude_batches

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def test_the_run_time_dependencies_are_these_and_no_others(project: dict[str, Any]) -> None:
    assert sorted(project["dependencies"]) == ["celery[redis]>=5.5", "django>=5.2", "redis>=5", "requests>=2.32.4"]


def test_the_extras_are_these(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    assert sorted(extras) == ["browser", "demo", "docs", "jsonschema", "mariadb", "postgres", "pydantic", "test"]
    with_mysqlclient = [name for name, needed in extras.items() if "mysqlclient" in " ".join(needed)]
    assert with_mysqlclient == ["mariadb"]


@pytest.mark.parametrize("name", ["jsonschema", "pydantic"])
def test_the_test_extra_has_the_packages_that_check_answers(project: dict[str, Any], name: str) -> None:
    extras = project["optional-dependencies"]
    assert set(extras[name]) <= set(extras["test"])


def test_the_lowest_lane_pins_the_lower_bounds(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    named = [*project["dependencies"], *extras["jsonschema"], *extras["postgres"], *extras["pydantic"]]
    bounds = dict(re.sub(r"\[.*?\]", "", needed).split(">=") for needed in named)
    pins = dict(re.findall(r"^([a-z]+)==([\d.]+)$", (ROOT / ".ci/lowest.txt").read_text(), re.MULTILINE))
    assert pins.keys() == bounds.keys()
    for name, bound in bounds.items():
        padded = [*bound.split("."), "0", "0"]
        assert pins[name].split(".") == padded[: len(pins[name].split("."))], name


def test_the_lanes_are_those_of_the_classifiers(project: dict[str, Any]) -> None:
    tox = (ROOT / "tox.ini").read_text()
    lanes = set(re.findall(r"py3\d+-django(\d)(\d)-", tox))
    named = {tuple(version.split(".")) for version in re.findall(r"Django :: ([\d.]+)", str(project["classifiers"]))}
    assert lanes == named


def test_the_installed_version_is_the_packages() -> None:
    assert metadata.version("django-claude-batches") == django_claude_batches.__version__


def test_the_pytest_plugin_is_announced() -> None:
    (plugin,) = metadata.entry_points(group="pytest11", name="django_claude_batches")
    assert plugin.load().__name__ == "django_claude_batches.testing.pytest_plugin"


def test_the_package_says_that_it_is_typed() -> None:
    assert resources.files(django_claude_batches).joinpath("py.typed").is_file()


@pytest.mark.parametrize("command", ['python -m pip install -e ".[test]"', "python -m pytest"])
def test_ci_runs_the_readmes_commands(command: str) -> None:
    assert command in (ROOT / ".ci/lanes.py").read_text()
