"""The Celery app of the project that django-configurations starts, which must load the settings first."""

from __future__ import annotations

import configurations

configurations.setup()

from tests.reliability.project.celery import app  # noqa: E402

__all__ = ["app"]
