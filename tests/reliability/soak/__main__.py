"""Run a soak. The exit code is 1 if anything was paid twice, is lost, or is stuck."""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.reliability.project.settings")
django.setup()

from django_claude_batches.testing import EmulatorProcess  # noqa: E402  models need the setup
from tests.harness import databases  # noqa: E402
from tests.reliability.site import Site  # noqa: E402
from tests.reliability.soak.check import check  # noqa: E402
from tests.reliability.soak.report import show  # noqa: E402
from tests.reliability.soak.run import Soak  # noqa: E402
from tests.reliability.soak.workers import Crew  # noqa: E402

KINDS = {"sqlite": databases.SQLITE, "postgres": databases.POSTGRES, "mariadb": databases.MARIADB}

# SQLite does not need to sync to the disk, because the machine is not switched off.
MEMORY = Path("/dev/shm")


def main() -> int:
    options = _options()
    begun = time.monotonic()
    memory = MEMORY if MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(dir=memory, ignore_cleanup_errors=True) as name,
        database(options.db, Path(name)) as url,
    ):
        folder = Path(name)
        with EmulatorProcess("--seed", str(options.seed)) as claude, Site(url, folder, claude).open() as site:
            random = Random(options.seed)
            crew = Crew(site, options.workers, random)
            soak = Soak(site, crew, random, options.batches, options.minutes * 60)
            try:
                soak.run()
            finally:
                crew.dismiss()
                _keep(crew.log, options.log)
            ledger = claude.ledger()
            findings = check(ledger)
            seconds = time.monotonic() - begun
            show(soak, findings, ledger, seed=options.seed, database=url.partition(":")[0], seconds=seconds)
    return 1 if findings.violations else 0


@contextmanager
def database(db: str, folder: Path) -> Iterator[str]:
    """Make a database of this kind; one that is given by its URL is there, and empty."""
    if db not in KINDS:
        yield db
        return
    with databases.new(KINDS[db], folder) as url:
        yield url


def _keep(log: Path, to: Path | None) -> None:
    if to is not None:
        to.write_bytes(log.read_bytes())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.soak", description=__doc__)
    parser.add_argument("--batches", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--db", default="sqlite", help=f"one of {', '.join(KINDS)}, or the URL of an empty database")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=math.inf, help="submit no more after so long")
    parser.add_argument("--log", type=Path, help="where to keep what the workers said")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
