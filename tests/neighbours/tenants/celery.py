from __future__ import annotations

from django.conf import settings

if settings.OURS == "tenant":
    from tenant_schemas_celery.app import CeleryApp as Celery
else:
    from celery import Celery

app = Celery("tenants")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
