"""Choose the folder for the files that this project creates: the database, the broker's messages, the logs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent


def var() -> Path:
    """Return `DEMO_VAR`, or `var/` beside manage.py, or the user's own temporary folder if that is not writable."""
    if given := os.environ.get("DEMO_VAR"):
        chosen = Path(given).resolve()
    else:
        beside = BASE_DIR / "var"
        writable = os.access(beside if beside.exists() else BASE_DIR, os.W_OK)
        chosen = beside if writable else Path(tempfile.gettempdir()) / f"claude-batches-example-{os.getuid()}"
    chosen.mkdir(mode=0o700, parents=True, exist_ok=True)
    return chosen
