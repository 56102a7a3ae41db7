"""The README's sketch is an app: put in the example app's place, it does the same work."""

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


@pytest.mark.process
def test_the_sketch_goes_from_reviews_to_tags(tmp_path: Path, environment: dict[str, str]) -> None:
    project = tmp_path / "project"
    shutil.copytree(ROOT / "example_project", project, ignore=shutil.ignore_patterns("var", "__pycache__"))
    (project / "reviews/tagging.py").write_text(block("# reviews/tagging.py"))
    (project / "reviews/signals.py").write_text(block("# reviews/signals.py"))
    script = (Path(__file__).parent / "round_trip.py").read_text()
    command = [sys.executable, str(project / "manage.py"), "shell", "-v", "0", "-c", script]
    variables = {**environment, "ANTHROPIC_API_KEY": "any", "PYTHONWARNINGS": "error"}
    ran = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "round trip done\n"


@pytest.mark.process
def test_the_four_steps_make_a_project_that_a_worker_loads(tmp_path: Path) -> None:
    """A new project, with what the README says to put where, and nothing else."""
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
    assert (
        tasks == "django_claude_batches.advance django_claude_batches.audit django_claude_batches.purge "
        "django_claude_batches.tick dict_keys(['django_claude_batches.tick', 'django_claude_batches.audit', "
        "'django_claude_batches.purge'])\n"
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
