"""One run of the benchmark: its databases, its stub, and the processes that it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import OURS, PEER, Figures, Run
from tests.benchmarks.stub.process import StubProcess, stub
from tests.harness import databases

ROOT = Path(__file__).parents[2]
KINDS = {"sqlite": databases.SQLITE, "postgres": databases.POSTGRES, "mariadb": databases.MARIADB}


@dataclass
class Bench:
    """`urls` are the databases of ours and of the peer; `latency` delays each answer to a poll, in milliseconds."""

    kind: str
    count: int
    rounds: int
    urls: dict[str, str]
    stub: StubProcess
    figures: Figures = field(default_factory=Figures)
    notes: list[str] = field(default_factory=list)
    server: str = ""
    no_limit: str = ""
    compression: str = ""
    latency: float = 0

    def prepare(self, *arguments: str) -> str:
        """Run `prepare` on our database; not timed."""
        return finish(self.start(OURS, "prepare", *arguments))

    def start(self, way: str, module: str, *arguments: str, url: str = "") -> subprocess.Popen[str]:
        """Start a step's process. All but the peer's use our database."""
        environment = os.environ | {
            "DATABASE_URL": self.urls[PEER if way == PEER else OURS],
            "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings",
            "ANTHROPIC_BASE_URL": url or self.stub.url,
            "ANTHROPIC_API_KEY": "any",
        }
        command = [sys.executable, "-m", f"tests.benchmarks.steps.{module}", *arguments]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes)

    def time(self, step: str, way: str, module: str, *arguments: str, url: str = "") -> Run:
        """Run a step and store its figures."""
        return self.figures.add(step, way, self.run(way, module, *arguments, url=url))

    def run(self, way: str, module: str, *arguments: str, url: str = "") -> Run:
        """Run a step in its own process, after all earlier writes are on disk."""
        self.settle(way)
        return run_of(finish(self.start(way, module, *arguments, url=url)))

    def settle(self, way: str) -> None:
        """Finish the work of the step before: on PostgreSQL, vacuum and checkpoint would slow down the next step."""
        if self.kind == "postgres":
            for statement in ("VACUUM (ANALYZE)", "CHECKPOINT"):
                databases.execute(KINDS[self.kind], self.urls[PEER if way == PEER else OURS], statement)


def finish(process: subprocess.Popen[str], say: str = "") -> str:
    """Wait for a step's process and return its output. Raises RuntimeError, with the end of its log, if it failed."""
    said, trouble = process.communicate(say or None)
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, process.args))}\n{trouble or said}")  # type: ignore[arg-type]
    return said


def run_of(said: str) -> Run:
    return Run(**json.loads(said.strip().splitlines()[-1]))


@contextmanager
def bench(kind: str, count: int, *, rounds: int, compression: str = "") -> Iterator[Bench]:
    """Create two databases and a stub, and remove them at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        databases.new(KINDS[kind], Path(folder), prefix="benchmark") as ours,
        databases.new(KINDS[kind], Path(folder), prefix="benchmark") as peer,
        stub() as server,
    ):
        made = Bench(kind, count, rounds, {OURS: ours, PEER: peer}, server)
        there = json.loads(made.prepare("migrate", "--compression", compression).strip().splitlines()[-1])
        made.server, made.compression, made.no_limit = there["server"], there["compression"], there["no_limit"]
        yield made
