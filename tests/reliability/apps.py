from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class ReliabilityConfig(AppConfig):
    """Loads the Celery app in each process: without it a web process would talk to Celery's default broker."""

    name = "tests.reliability"

    def ready(self) -> None:
        import_module("tests.reliability.celery")
