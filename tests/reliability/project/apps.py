from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType

from django.apps import AppConfig


class ReliabilityConfig(AppConfig):
    """Loads the Celery app in each process: without it a web process would talk to Celery's default broker.

    With `CRASH_FOLDER` set, and only then, it puts the crash points in place; with `CHUNKS` all that is done by pieces
    is done by so many rows.
    """

    name = "tests.reliability.project"

    def ready(self) -> None:
        import_module("tests.reliability.project.celery")
        if "CRASH_FOLDER" in os.environ:
            from django_claude_batches.services.ingestion import download
            from tests.reliability.kills import seams

            resize(download, "CHUNK_ROWS", size=2)  # three requests are two chunks
            seams.watch()
        if "CHUNKS" in os.environ:
            from django_claude_batches.models import delivery
            from django_claude_batches.services.ingestion import download
            from django_claude_batches.services.runs import request_builder

            for module, names in {
                delivery: ["CHUNK_REQUESTS"],
                download: ["CHUNK_ROWS"],
                request_builder: ["PAGE", "FIRST_PAGE"],
            }.items():
                resize(module, *names, size=int(os.environ["CHUNKS"]))


def resize(module: ModuleType, *names: str, size: int) -> None:
    """Set these; AssertionError for one that the module does not have any more."""
    for name in names:
        assert hasattr(module, name), f"{module.__name__} has no {name}"
        setattr(module, name, size)
