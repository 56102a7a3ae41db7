"""The README's examples work as apps in place of the example app."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from django_claude_batches import conf
from django_claude_batches.models import State

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def block(first_line: str) -> str:
    return next(code for code in BLOCKS if code.startswith(first_line))


# The comment in the second example about `AppConfig.ready()`.
APPS = """
from django.apps import AppConfig


class ReviewsConfig(AppConfig):
    name = "reviews"

    def ready(self):
        from . import signals
"""

OF_A_JOB = """
from django_claude_batches.testing import always
from django_claude_batches.testing.jobs import run_job
from reviews.claude_jobs import TagReviews
from reviews.models import Review


"""
OF_A_BATCH = """
from django_claude_batches import services
from django_claude_batches.testing import ClaudeEmulator
from reviews.models import Review
from reviews.tagging import tag_reviews


"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The example project without its job."""
    folder = tmp_path / "project"
    ignored = shutil.ignore_patterns("var", "__pycache__", "claude_jobs.py", "demo")
    shutil.copytree(ROOT / "example_project", folder, ignore=ignored)
    settings = folder / "config/settings.py"
    settings.write_text(settings.read_text().replace('    "demo",\n', ""))
    return folder


def round_trip(project: Path, script: str, environment: dict[str, str]) -> None:
    code = (Path(__file__).parent / script).read_text()
    said = run_python(project, environment, str(project / "manage.py"), "shell", "-v", "0", "-c", code)
    assert said == "round trip done\n"


def run_python(folder: Path, environment: dict[str, str], *command: str) -> str:
    variables = {**environment, "ANTHROPIC_API_KEY": "any", "PYTHONWARNINGS": "error"}
    ran = subprocess.run(
        [sys.executable, *command], cwd=folder, env=variables, capture_output=True, text=True, timeout=100
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def run_test(project: Path, environment: dict[str, str], code: str) -> None:
    """Run a test of the README, with the imports that it omits."""
    (project / "reviews/tests.py").write_text(code)
    plain = ["-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist", "--ds", "config.settings"]
    assert "1 passed" in run_python(project, environment, "-m", "pytest", "-q", *plain, "reviews/tests.py")


@pytest.mark.process
def test_the_job_goes_from_reviews_to_tags(project: Path, environment: dict[str, str]) -> None:
    (project / "reviews/claude_jobs.py").write_text(block("# reviews/claude_jobs.py"))
    round_trip(project, "round_trip.py", environment)
    run_test(project, environment, OF_A_JOB + block("def test_reviews_get_their_tags"))


@pytest.mark.process
def test_rows_and_signals_go_from_reviews_to_tags(project: Path, environment: dict[str, str]) -> None:
    (project / "reviews/tagging.py").write_text(block("# reviews/tagging.py"))
    (project / "reviews/signals.py").write_text(block("# reviews/signals.py"))
    (project / "reviews/apps.py").write_text(APPS)
    round_trip(project, "round_trip_by_signals.py", environment)
    run_test(project, environment, OF_A_BATCH + block("def test_a_batch_of_reviews"))


def test_the_example_project_has_that_job() -> None:
    ours = (ROOT / "example_project/reviews/claude_jobs.py").read_text()
    assert ours.partition("\n\n")[2] == block("# reviews/claude_jobs.py").partition("\n")[2]


@pytest.mark.process
def test_the_four_steps_make_a_project_that_a_worker_loads(tmp_path: Path) -> None:
    """A new project with only the files and settings of the README."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "DATABASE"))}

    def run(*command: str) -> str:
        ran = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    run("-m", "django", "startproject", "config", ".")
    with (tmp_path / "config/settings.py").open("a") as file:
        file.write(block("# config/settings.py"))
        file.write('DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 20}\n')
    (tmp_path / "config/celery.py").write_text(block("# config/celery.py"))
    (tmp_path / "config/__init__.py").write_text(block("# config/__init__.py"))
    run("manage.py", "check", "--fail-level", "WARNING")
    run("manage.py", "migrate", "-v", "0")
    tasks = run(
        "-c",
        "import django; from config import celery_app as app; django.setup(); app.loader.import_default_modules(); "
        "print(*sorted(name for name in app.tasks if name.startswith('django_claude')), app.conf.beat_schedule.keys())",
    )
    assert tasks == (
        "django_claude_batches.advance django_claude_batches.audit django_claude_batches.audit_account "
        "django_claude_batches.deliver django_claude_batches.drive django_claude_batches.poll "
        "django_claude_batches.prepare django_claude_batches.purge django_claude_batches.start_job "
        "django_claude_batches.tick django_claude_batches.watch django_claude_batches.watch_account "
        "dict_keys(['django_claude_batches.tick', "
        "'django_claude_batches.audit', 'django_claude_batches.purge', 'django_claude_batches.watch'])\n"
    )


@pytest.mark.parametrize("code", BLOCKS, ids=lambda code: code.splitlines()[0])
def test_all_of_it_is_python(code: str) -> None:
    ast.parse(code)


def test_what_it_links_to_is_there() -> None:
    links = re.findall(r"\]\(([\w/.-]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_tables_are_those_of_the_code() -> None:
    first_cells = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", README, re.MULTILINE)
    assert [cells for cells in first_cells if cells[0] in State] == [(state, str(state.label)) for state in State]
    assert sorted(name for name, _ in first_cells if name not in State) == sorted(conf.DEFAULTS)
