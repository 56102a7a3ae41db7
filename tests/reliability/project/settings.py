"""Settings of the processes that get killed. `DATABASE_URL` and `BROKER_URL` say where they are at home."""

from __future__ import annotations

import os

from django_claude_batches.schedule import BEAT_SCHEDULE
from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS

ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [*INSTALLED_APPS, "tests.reliability.project.apps.ReliabilityConfig"]

# Only processes are killed, not the machine, so it is safe not to wait for the disk.
UNSYNCED = "PRAGMA synchronous=OFF"
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"]["init_command"] = UNSYNCED

CELERY_BROKER_URL = os.environ.get("BROKER_URL", "memory://")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": float(os.environ.get("VISIBILITY_TIMEOUT", "3600")),
    # Look for what was not acknowledged in that time each second; kombu does so every 100 s.
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}
CELERY_TASK_DEFAULT_QUEUE = os.environ.get("QUEUE", "reliability")
CELERY_TASK_ACKS_LATE = "ACKS_LATE" in os.environ
if limit := os.environ.get("TASK_TIME_LIMIT"):
    CELERY_TASK_TIME_LIMIT = float(limit)
# A second, so that no test waits for beat; users keep the schedule's own 30. As kicks, of which each does its work,
# unless the test is about beat's own.
BEAT_SECONDS = float(os.environ.get("BEAT_SECONDS", "1"))
TICK = "django_claude_batches.tick"
AS_KICKS = {} if "PLAIN_BEAT" in os.environ else {"kwargs": {"is_kick": True}}
CELERY_BEAT_SCHEDULE = {TICK: {**BEAT_SCHEDULE[TICK], "schedule": BEAT_SECONDS, **AS_KICKS}}
if "DATABASE_SCHEDULER" in os.environ:
    INSTALLED_APPS += ["django_celery_beat"]
    CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"

CLAUDE_BATCHES = {
    "KICK": "BROKER_URL" in os.environ,
    "SEND_DEADLINE": float(os.environ.get("SEND_DEADLINE", "600")),
    "SUBMIT_QUIET_PERIOD": float(os.environ.get("SUBMIT_QUIET_PERIOD", "1800")),
}
if slow := os.environ.get("SLOW_ACCOUNT"):
    key, total = slow.split()
    one = {"API_KEY": key, "TIMEOUTS": (5, float(total) / 3), "TOTAL_TIMEOUT": float(total)}
    CLAUDE_BATCHES["ACCOUNTS"] = {"a slow": one, "default": {}}
if most := os.environ.get("MAX_IN_FLIGHT_REQUESTS"):
    CLAUDE_BATCHES["MAX_IN_FLIGHT_REQUESTS"] = int(most)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
