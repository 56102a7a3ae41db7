"""What Celery beat has to do for us; importable from a settings module, since it loads neither Django nor Celery.

from django_claude_batches.schedule import BEAT_SCHEDULE
CELERY_BEAT_SCHEDULE = {**BEAT_SCHEDULE}
"""

from __future__ import annotations

from typing import Any

TICK_SECONDS = 30
"""Seconds between two ticks. A tick that no worker took within that time expires: the next one does its work."""

BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "django_claude_batches.tick": {
        "task": "django_claude_batches.tick",
        "schedule": float(TICK_SECONDS),
        "options": {"expires": TICK_SECONDS},
    },
}
