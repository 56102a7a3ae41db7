from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _

from django_claude_batches import checks


class ClaudeBatchesConfig(AppConfig):
    name = "django_claude_batches"
    label = "django_claude_batches"
    verbose_name = _("Claude batches")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        for check in checks.ALL:
            register(check)
        for check in checks.DEPLOYMENT:
            register(check, deploy=True)
        # As django.contrib.admin does with `admin`: a worker that has not imported a job cannot deliver its results.
        autodiscover_modules("claude_jobs")
