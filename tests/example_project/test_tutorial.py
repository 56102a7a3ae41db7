"""The tutorial, executed by the letter: its files, its commands, and what it says that the reader sees."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.process

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(
    r"^```(?:\{code-block\} python\n:caption: (?P<path>\S+)\n\n(?P<code>.*?)|console\n(?P<console>.*?))^```",
    re.MULTILINE | re.DOTALL,
)

# Commands that run until they are ended.
SERVERS = ("python -m django_claude_batches.testing", "celery ")

# "Within a minute and a half".
PATIENCE = 90


class Reader:
    """Does what a page says in a new folder, block by block, as a person in several terminals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes = ExitStack()
        ours = ("DJANGO", "DATABASE", "ANTHROPIC", "REDIS", "CELERY", "PYTEST", "PYTHON")
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # Another database of the server: the tests of others use the first ones.
        broker = "redis://127.0.0.1:6379/11"
        self._environment |= {"PATH": path, "PYTHONPATH": str(DOCS.parent), "CELERY_BROKER_URL": broker}

    def close(self) -> None:
        self._processes.close()

    def read(self, page: str, *, files_only: bool = False) -> None:
        for block in BLOCK.finditer(page):
            if block["path"]:
                with (self.folder / block["path"]).open("a") as file:
                    file.write("\n" + block["code"])
            elif not files_only:
                self._type(block["console"])

    def _type(self, console: str) -> None:
        """Type the commands of one block, in a terminal of its own, and compare what they print."""
        environment = dict(self._environment)
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", console, re.MULTILINE):
            words = shlex.split(command)
            if words[0] == "export":
                environment |= dict(word.split("=", 1) for word in words[1:])
            elif command.startswith(SERVERS):
                self._processes.enter_context(_running(words, self.folder, environment))
            elif shown.startswith(">>>"):
                self._until_right(shown, environment)
            else:
                said = self._run(words, environment)
                assert not shown or said == shown

    def _until_right(self, session: str, environment: dict[str, str]) -> None:
        """Repeat a session that only reads until it shows what the page says, at most as long as the page says."""
        give_up_at = time.monotonic() + (0 if ".create(" in session else PATIENCE)
        script = f"import doctest\n{DOCTEST}\nrun({session!r})"
        while (said := self._run(["python", "manage.py", "shell", "-v", "0", "-c", script], environment)) != "":
            assert time.monotonic() < give_up_at, said
            time.sleep(2)

    def _run(self, words: list[str], environment: dict[str, str]) -> str:
        ran = subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout


DOCTEST = """
def run(session):
    test = doctest.DocTestParser().get_doctest(session, {}, "tutorial", None, 0)
    doctest.DocTestRunner(verbose=False, optionflags=doctest.FAIL_FAST).run(test)
"""


@contextmanager
def _running(words: list[str], folder: Path, environment: dict[str, str]) -> Iterator[Any]:
    with (folder / f"{words[0]}.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    made = Reader(tmp_path)
    yield made
    made.close()


@pytest.mark.redis
@pytest.mark.timeout(240)
def test_the_tutorial_shows_what_it_says(reader: Reader) -> None:
    tutorial = (DOCS / "tutorial.md").read_text()
    before, heading, after = tutorial.partition("## The model")
    project, settings, app = before.partition("Then do steps 2 and 3 of")
    assert heading
    assert settings
    reader.read(project)
    reader.read((DOCS / "how-to/install.md").read_text(), files_only=True)
    reader.read(app + after)


@pytest.mark.parametrize(
    "page",
    [
        "```console\n$ python -c 'print(1)'\n2\n```\n",
        "```console\n$ python -m no_such_module\n```\n",
        "```{code-block} python\n:caption: x.py\n\nimport no_such_module\n```\n```console\n$ python x.py\n```\n",
    ],
    ids=["output", "command", "import"],
)
def test_what_is_wrong_is_found(reader: Reader, page: str) -> None:
    with pytest.raises(AssertionError):
        reader.read(page)


def test_a_session_that_shows_something_else_is_found() -> None:
    example = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "planted", None, 0)
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert "Expected" in "".join(said)
