"""The Celery app of the processes that are killed."""

from __future__ import annotations

from celery import Celery

app = Celery("reliability")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
