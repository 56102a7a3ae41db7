from __future__ import annotations

import os

from django.apps import AppConfig


class ReliabilityConfig(AppConfig):
    """In the processes that get killed, and only with `CRASH_FOLDER` set, puts the crash points in place."""

    name = "tests.reliability"

    def ready(self) -> None:
        if "CRASH_FOLDER" in os.environ:
            from django_claude_batches.services import downloading
            from tests.reliability import seams

            downloading.CHUNK_ROWS = 2  # three requests are two chunks
            seams.watch()
