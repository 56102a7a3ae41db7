"""Where this project keeps what it makes: its database, its broker's messages, the logs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent


def var() -> Path:
    """Give `DEMO_VAR`, or `var/` beside manage.py, or a folder of one's own where that cannot be written."""
    if given := os.environ.get("DEMO_VAR"):
        chosen = Path(given).resolve()
    else:
        beside = BASE_DIR / "var"
        writable = os.access(beside if beside.exists() else BASE_DIR, os.W_OK)
        chosen = beside if writable else Path(tempfile.gettempdir()) / f"claude-batches-example-{os.getuid()}"
    chosen.mkdir(mode=0o700, parents=True, exist_ok=True)
    return chosen
