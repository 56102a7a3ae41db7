from __future__ import annotations

import os
from importlib import import_module

from django.apps import AppConfig


class ReliabilityConfig(AppConfig):
    """Loads the Celery app in each process: without it a web process would talk to Celery's default broker.

    With `CRASH_FOLDER` set, and only then, it puts the crash points in place.
    """

    name = "tests.reliability"

    def ready(self) -> None:
        import_module("tests.reliability.celery")
        if "CRASH_FOLDER" in os.environ:
            from django_claude_batches.services import downloading
            from tests.reliability import seams

            downloading.CHUNK_ROWS = 2  # three requests are two chunks
            seams.watch()
