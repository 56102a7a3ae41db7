"""Checks the built distributions in the folder given: what is in them, and that the wheel alone does the main job."""

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
PAGES = ("how-to/install.md", "tutorial.md", "how-to/test-your-app.md", "how-to/compose-the-admin.md")
BLOCK = re.compile(r"^```\{code-block\} python\n:caption: (?P<path>\S+)\n\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)


def check_contents(wheel: Path, sdist: Path) -> None:
    """Everything of the package is in the wheel, and nothing else but the metadata."""
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
        sys.exit(f"Beside the package, the wheel has {sorted(others)}, not {sorted(expected)}.")
    for name in ("py.typed", "migrations/0001_initial.py"):
        if PACKAGE + name not in packaged:
            sys.exit(f"The wheel lacks {PACKAGE}{name}.")
    with tarfile.open(sdist) as archive:
        shipped = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    missing = {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "tox.ini", "tests/settings.py"} - shipped
    if missing:
        sys.exit(f"The source distribution lacks {sorted(missing)}.")


def make_project(folder: Path, python: Path) -> None:
    """A new project, changed as the docs say, page by page."""
    for command in (["startproject", "config", "."], ["startapp", "reviews"]):
        subprocess.run([python, "-m", "django", *command], cwd=folder, check=True)
    for page in PAGES:
        for block in BLOCK.finditer((ROOT / "docs" / page).read_text()):
            with (folder / block["path"]).open("a") as file:
                file.write("\n" + block["code"])


def main(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    check_contents(wheel, sdist)
    with tempfile.TemporaryDirectory() as temporary:
        environment, project = Path(temporary, "environment"), Path(temporary, "project")
        venv.create(environment, with_pip=True)
        python = environment / "bin/python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)
        project.mkdir()
        make_project(project, python)
        (project / "journey.py").write_text((ROOT / ".ci/journey.py").read_text())
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        variables |= {"CELERY_BROKER_URL": BROKER, "DJANGO_SETTINGS_MODULE": "config.settings"}
        for command in (
            ["manage.py", "check", "--fail-level", "WARNING"],
            ["manage.py", "makemigrations", "-v0", "reviews"],
            ["manage.py", "migrate", "-v0"],
            ["journey.py"],
        ):
            subprocess.run([python, *command], cwd=project, env=variables, check=True, timeout=180)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
