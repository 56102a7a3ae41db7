"""Settings of the processes that get killed. `DATABASE_URL` and `BROKER_URL` say where they are at home."""

from __future__ import annotations

import os

from django_claude_batches.schedule import BEAT_SCHEDULE
from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.reliability"]

# What dies is a process and never the machine, so nothing is lost by not waiting for the disk.
UNSYNCED = "PRAGMA synchronous=OFF"
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"]["init_command"] = UNSYNCED

CELERY_BROKER_URL = os.environ.get("BROKER_URL", "memory://")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": float(os.environ.get("VISIBILITY_TIMEOUT", "3600"))}
CELERY_TASK_DEFAULT_QUEUE = os.environ.get("QUEUE", "reliability")
CELERY_TASK_ACKS_LATE = "ACKS_LATE" in os.environ
if limit := os.environ.get("TASK_TIME_LIMIT"):
    CELERY_TASK_TIME_LIMIT = float(limit)
# A second, so that no test waits for beat; users keep the schedule's own 30.
CELERY_BEAT_SCHEDULE = {name: {**entry, "schedule": 1.0} for name, entry in BEAT_SCHEDULE.items()}

CLAUDE_BATCHES = {"KICK": "BROKER_URL" in os.environ}
