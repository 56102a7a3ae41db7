"""A batch driven by a real beat with django-celery-beat's scheduler, whose entries are rows."""

from __future__ import annotations

import pytest
from django.db import connections

from django_claude_batches.schedule import BEAT_SCHEDULE
from tests.harness.databases import POSTGRES
from tests.neighbours.beside import BesideNeighbour, Neighbour
from tests.reliability.site import ALIAS
from tests.reliability.web import Visitor

pytestmark = pytest.mark.neighbour

BEAT = Neighbour("django-celery-beat", "django_celery_beat", POSTGRES, environment="neighbours-beat")
ENTRIES = "django_celery_beat_periodictask"


@pytest.mark.parametrize("neighbour", [BEAT], ids=str, indirect=True)
def test_rows_drive_a_batch(site: BesideNeighbour, visitor: Visitor) -> None:
    site.worker()
    site.start("-m", "celery", "-A", "tests.reliability.project.celery", "beat", "--loglevel=INFO")
    site.complete(site.draft(), visitor)  # an action sends one tick, and this takes several
    assert "DatabaseScheduler" in site.said()
    shown = visitor.gets("/admin/django_celery_beat/periodictask/")
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(f"SELECT task, expires, expire_seconds FROM {ENTRIES}")
        entries = {task: rest for task, *rest in cursor.fetchall()}
    for entry in BEAT_SCHEDULE.values():
        assert entry["task"] in shown
        assert entries[entry["task"]] == [None, None]
    assert "W003" not in site.manage("check")
