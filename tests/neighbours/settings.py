"""Settings of a project with the neighbour that `NEIGHBOUR` names; otherwise those of the reliability tests."""

from __future__ import annotations

import os
from typing import Any

from django_claude_batches.schedule import BEAT_SCHEDULE
from tests.reliability.project.settings import *  # noqa: F403
from tests.reliability.project.settings import CELERY_BEAT_SCHEDULE, DATABASES, INSTALLED_APPS, MIDDLEWARE

NEIGHBOUR = os.environ.get("NEIGHBOUR", "")
ROOT_URLCONF = "tests.neighbours.urls"
OPTIONS: dict[str, Any] = DATABASES["default"].setdefault("OPTIONS", {})

if NEIGHBOUR == "django-celery-beat":
    INSTALLED_APPS += ["django_celery_beat"]
    CELERY_BEAT_SCHEDULE = {**BEAT_SCHEDULE, **CELERY_BEAT_SCHEDULE}
    CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
elif NEIGHBOUR == "django-celery-results":
    INSTALLED_APPS += ["django_celery_results"]
    CELERY_RESULT_BACKEND = "django-db"
    CELERY_RESULT_EXTENDED = True
    CELERY_TASK_TRACK_STARTED = True
elif NEIGHBOUR == "psycopg-pool":
    OPTIONS["pool"] = {"min_size": 1, "max_size": 4, "timeout": 20}
elif NEIGHBOUR == "server-side binding":
    OPTIONS["server_side_binding"] = True
elif NEIGHBOUR == "PyMySQL":
    import pymysql

    pymysql.install_as_MySQLdb()
elif NEIGHBOUR == "django-import-export":
    INSTALLED_APPS += ["import_export", "tests.neighbours.exporting"]
elif NEIGHBOUR == "django-debug-toolbar":
    DEBUG = True
    INTERNAL_IPS = ["127.0.0.1"]
    INSTALLED_APPS += ["debug_toolbar"]
    MIDDLEWARE = ["debug_toolbar.middleware.DebugToolbarMiddleware", *MIDDLEWARE]
