"""What Celery beat has to do for us; importable from a settings module, since it loads neither Django nor Celery.

from django_claude_batches.schedule import BEAT_SCHEDULE
CELERY_BEAT_SCHEDULE = {**BEAT_SCHEDULE}
"""

from __future__ import annotations

from typing import Any

# Seconds between two ticks. No entry has `expires`, which compares the clocks of two machines: a message that waited
# for a worker does nothing if another one has just done its work, by the database's clock.
TICK_SECONDS = 30

# Seconds between two checks whether an account's audit is due: each is audited once a day, as its row says.
# Not a day: without a file of its last run, as in a replaced container, beat counts a float schedule from its own
# start, and one that is restarted every day would never reach it. A crontab would need Celery here.
AUDIT_SECONDS = 3600

# Seconds between two checks whether an account's purge is due: once a day, or each time until it is complete.
PURGE_SECONDS = 3600

# Seconds between two searches for batches that appear late, for accounts that have such attempts.
WATCH_SECONDS = 600

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
