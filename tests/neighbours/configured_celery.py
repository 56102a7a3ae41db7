"""The Celery app of the project that django-configurations starts: its settings must be there first."""

from __future__ import annotations

import configurations

configurations.setup()

from tests.reliability.project.celery import app  # noqa: E402

__all__ = ["app"]
