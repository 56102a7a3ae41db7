from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "tests.neighbours.tenants"

    def ready(self) -> None:
        import_module("tests.neighbours.tenants.celery")
        import_module("tests.neighbours.tenants.reviews.signals")
