"""The code of the how-to pages about jobs makes a project in which its tests pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("install", "from-queryset-to-answers", "failures-and-retries", "test-your-job", "every-night")
BLOCK = re.compile(r"^```\{code-block\} python\n:caption: (?P<path>\S+)\n\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)

# Two nights, in this process. There are no rows, so each run is over at once.
NIGHT = """
import django

django.setup()

from config.celery import app
from django.core.management import call_command

from django_claude_batches import job_registry
from django_claude_batches.models import JobRun
from django_claude_batches.testing import ClaudeEmulator

call_command("migrate", verbosity=0)
print(*job_registry.names())
app.loader.import_default_modules()
app.conf.task_always_eager = True
entry = app.conf.beat_schedule["tag-reviews"]
with ClaudeEmulator():
    for _night in range(2):
        app.tasks[entry["task"]].apply(entry["args"], entry["kwargs"]).get()
print([(run.job, run.label, run.state) for run in JobRun.objects.all()], entry["schedule"].hour)
"""


@pytest.fixture
def python(tmp_path: Path) -> Python:
    return Python(tmp_path)


class Python:
    """Runs Python in a new project with the code of the pages."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "project").mkdir()
        self.run("-m", "django", "startproject", "config", ".")
        self.run("-m", "django", "startapp", "reviews")
        for page in PAGES:
            for block in BLOCK.finditer((DOCS / "how-to" / f"{page}.md").read_text()):
                with (self._folder / "project" / block["path"]).open("a") as file:
                    file.write("\n" + block["code"])
        self.run("manage.py", "makemigrations", "-v0", "reviews")

    def run(self, *arguments: str) -> str:
        ours = ("DJANGO", "DATABASE", "ANTHROPIC", "REDIS", "CELERY", "PYTEST")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environment |= {"DJANGO_SETTINGS_MODULE": "config.settings"}
        ran = subprocess.run(
            [sys.executable, *arguments],
            cwd=self._folder / "project",
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout


def test_the_tests_of_the_pages_pass(python: Python) -> None:
    python.run("manage.py", "check", "--fail-level", "WARNING")
    plain = ["-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist"]
    said = python.run("-m", "pytest", "-q", *plain, "reviews/tests.py")
    assert "4 passed" in said


def test_a_night_is_a_run(python: Python) -> None:
    names, runs = python.run("-c", NIGHT).splitlines()
    assert names == "tag-reviews tag-reviews-patiently translate-reviews"
    night = ("tag-reviews", "nightly", "finished")
    assert runs == f"{[night, night]} {{2}}"
