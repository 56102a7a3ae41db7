"""What Celery beat has to do for us; importable from a settings module, since it loads neither Django nor Celery.

from django_claude_batches.schedule import BEAT_SCHEDULE
CELERY_BEAT_SCHEDULE = {**BEAT_SCHEDULE}
"""

from __future__ import annotations

from typing import Any

TICK_SECONDS = 30
"""Seconds between two ticks. No entry has `expires`, which compares the clocks of two machines: a message that waited
for a worker does nothing if another one has just done its work, by the database's clock."""

AUDIT_SECONDS = 3600
"""Seconds between two looks whether an account's audit is due: each is audited once a day, as its own row says.

Not a day: beat counts a float schedule from its own start where it finds no file of its last run, as in a container
that is replaced, and one that is restarted every day would never come to it. A crontab would need Celery here.
"""

PURGE_SECONDS = 3600
"""Seconds between two looks whether an account's purge is due: once a day, or while there is more, each time."""

WATCH_SECONDS = 600
"""Seconds between two looks for batches that turn up late, of accounts that have such to look for."""

BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "django_claude_batches.tick": {
        "task": "django_claude_batches.tick",
        "schedule": float(TICK_SECONDS),
    },
    "django_claude_batches.audit": {
        "task": "django_claude_batches.audit",
        "schedule": float(AUDIT_SECONDS),
    },
    "django_claude_batches.purge": {
        "task": "django_claude_batches.purge",
        "schedule": float(PURGE_SECONDS),
    },
    "django_claude_batches.watch": {
        "task": "django_claude_batches.watch",
        "schedule": float(WATCH_SECONDS),
    },
}
