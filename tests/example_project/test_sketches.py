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

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def block(first_line: str) -> str:
    return next(code for code in BLOCKS if code.startswith(first_line))


# The comment in the second example about `AppConfig.ready()`.
CAPTIONED = re.compile(r"^```\{code-block\} python\n:caption: (\S+)\n\n(.*?)^```", re.MULTILINE | re.DOTALL)


def files_of(page: str) -> dict[str, str]:
    """Return the code that a page of the docs has for each file, in its order."""
    files: dict[str, str] = {}
    for path, code in CAPTIONED.findall((ROOT / "docs" / f"{page}.md").read_text()):
        files[path] = files.get(path, "") + code
    return files


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


@pytest.mark.process
def test_the_job_goes_from_reviews_to_tags(project: Path, environment: dict[str, str]) -> None:
    (project / "reviews/claude_jobs.py").write_text(block("# reviews/claude_jobs.py"))
    round_trip(project, "round_trip.py", environment)


@pytest.mark.process
def test_rows_and_signals_go_from_reviews_to_tags(project: Path, environment: dict[str, str]) -> None:
    files = files_of("tutorial")
    for name in ("tagging", "signals", "apps"):
        (project / f"reviews/{name}.py").write_text(files[f"reviews/{name}.py"])
    round_trip(project, "round_trip_by_signals.py", environment)


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
    for path, code in files_of("how-to/install").items():
        with (tmp_path / path).open("a") as file:
            file.write(code)
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
