"""Run the trials. The exit code is 1 if anything did not hold."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.reliability.project.settings")
django.setup()

from django_claude_batches.testing import ClaudeEmulator  # noqa: E402  models need the setup
from tests.reliability.bent_answers.report import show  # noqa: E402
from tests.reliability.bent_answers.trial import Seen, try_seed  # noqa: E402
from tests.reliability.site import Site  # noqa: E402
from tests.reliability.soak.__main__ import KINDS, database  # noqa: E402


def main() -> int:
    options = _options()
    logging.disable(logging.CRITICAL)
    seen = Seen()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, database(options.db, Path(name)) as url:
        with ClaudeEmulator() as claude, Site(url, Path(name), claude).open():
            while seen.trials < options.seeds or time.monotonic() - begun < options.minutes * 60:
                for line in try_seed(options.seed + seen.trials, seen):
                    sys.stderr.write(f"{line}\n")
        show(seen, seed=options.seed, database=url.partition(":")[0], seconds=time.monotonic() - begun)
    return 1 if seen.violations else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.bent_answers", description=__doc__)
    parser.add_argument("--minutes", type=float, default=0, help="begin no more seeds after so long")
    parser.add_argument("--seeds", type=int, default=1, help="try so many at least")
    parser.add_argument("--seed", type=int, default=1, help="the first of them")
    parser.add_argument("--db", default="sqlite", help=f"one of {', '.join(KINDS)}, or the URL of an empty database")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
