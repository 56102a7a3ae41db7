"""Check the built distributions in the given folder: their contents, and whether the documented steps work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "django_claude_batches/"
BROKER = "redis://127.0.0.1:6379/13"
PAGES = ("install", "../tutorial", "test-your-app", "compose-the-admin")
PAGES_OF_JOBS = ("install", "from-queryset-to-answers", "failures-and-retries", "test-your-job", "every-night")
# The tests of the pages that do not need pytest.
JOBS = """
import django

django.setup()

from reviews import tests

tests.test_reviews_get_their_tags(None)
tests.test_a_refusal_is_noted(None)
tests.test_an_answer_without_tags_is_asked_for_again(None)
print("The job from the wheel: passed.")
"""

BLOCK = re.compile(r"^```\{code-block\} python\n:caption: (?P<path>\S+)\n\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)


def check_contents(wheel: Path, sdist: Path) -> None:
    """Exit with an error unless the wheel has exactly the package's files and the metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tracked = subprocess.run(
        ["git", "ls-files", PACKAGE], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    packaged = {name for name in names if name.startswith(PACKAGE)}
    if packaged != set(tracked):
        sys.exit(f"The wheel and git differ: {sorted(packaged ^ set(tracked))}")
    others = {name.split("/", 1)[1] for name in names - packaged}
    expected = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    if others != expected:
        sys.exit(f"Besides the package, the wheel has {sorted(others)}, not {sorted(expected)}.")
    for name in ("py.typed", "migrations/0001_initial.py"):
        if PACKAGE + name not in packaged:
            sys.exit(f"The wheel lacks {PACKAGE}{name}.")
    with tarfile.open(sdist) as archive:
        shipped = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    missing = {
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "pyproject.toml",
        "tox.ini",
        "tests/settings.py",
        ".ci/lanes.py",
    } - shipped
    if missing:
        sys.exit(f"The source distribution lacks {sorted(missing)}.")


def make_project(folder: Path, python: Path, pages: tuple[str, ...]) -> None:
    """Create a project, and add the code of these pages of the docs."""
    folder.mkdir()
    for command in (["startproject", "config", "."], ["startapp", "reviews"]):
        subprocess.run([python, "-m", "django", *command], cwd=folder, check=True)
    for page in pages:
        for block in BLOCK.finditer((ROOT / "docs/how-to" / f"{page}.md").read_text()):
            with (folder / block["path"]).open("a") as file:
                file.write("\n" + block["code"])


def take_journey(folder: Path, python: Path, script: str) -> None:
    """Check and migrate the project as the docs say, and run the script."""
    (folder / "journey.py").write_text(script)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    variables |= {"CELERY_BROKER_URL": BROKER, "DJANGO_SETTINGS_MODULE": "config.settings"}
    for command in (
        ["manage.py", "check", "--fail-level", "WARNING"],
        ["manage.py", "makemigrations", "-v0", "reviews"],
        ["manage.py", "migrate", "-v0"],
        ["journey.py"],
    ):
        subprocess.run([python, *command], cwd=folder, env=variables, check=True, timeout=180)


def main(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    check_contents(wheel, sdist)
    with tempfile.TemporaryDirectory() as temporary:
        environment, folder = Path(temporary, "environment"), Path(temporary)
        venv.create(environment, with_pip=True)
        python = environment / "bin/python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)
        make_project(folder / "project", python, PAGES)
        take_journey(folder / "project", python, (ROOT / ".ci/journey.py").read_text())
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"{wheel}[jsonschema]"], check=True)
        make_project(folder / "jobs", python, PAGES_OF_JOBS)
        take_journey(folder / "jobs", python, JOBS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
