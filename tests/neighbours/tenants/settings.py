"""Settings of a project with tenants. `OURS` says where the app is: in each `tenant`'s schema, or `shared`."""

from __future__ import annotations

import os

import dj_database_url

from django_claude_batches.schedule import BEAT_SCHEDULE

SECRET_KEY = "not a secret"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.harness.urls"
STATIC_URL = "/static/"

DATABASES = {"default": dj_database_url.config(engine="django_tenants.postgresql_backend")}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
TENANT_MODEL, TENANT_DOMAIN_MODEL = "customers.Customer", "customers.Domain"

OURS = os.environ["OURS"]
DJANGOS = [f"django.contrib.{name}" for name in ("contenttypes", "auth", "sessions", "messages", "admin")]
BATCHES = ["django_claude_batches"]
SHARED_APPS = [
    "django_tenants",
    "tests.neighbours.tenants.customers",
    *DJANGOS,
    *(BATCHES if OURS == "shared" else []),
]
TENANT_APPS = [*DJANGOS, "tests.neighbours.tenants.reviews", *(BATCHES if OURS == "tenant" else [])]
INSTALLED_APPS = list(dict.fromkeys(["tests.neighbours.tenants.apps.ProjectConfig", *SHARED_APPS, *TENANT_APPS]))

MIDDLEWARE = [
    "django_tenants.middleware.main.TenantMainMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

CELERY_BROKER_URL = os.environ.get("BROKER_URL", "memory://")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
TICK = "django_claude_batches.tick"
# Every second, and as kicks, each of which does the due work, so that tests do not wait for beat.
CELERY_BEAT_SCHEDULE = {**BEAT_SCHEDULE, TICK: {"task": TICK, "schedule": 1.0, "kwargs": {"is_kick": True}}}
if OURS == "tenant":
    CELERY_BEAT_SCHEDULER = "tenant_schemas_celery.scheduler:TenantAwareScheduler"

ACCOUNT: dict[str, object] = {}
if "KEY_OF_EACH" in os.environ:
    ACCOUNT["API_KEY"] = "tests.neighbours.tenants.keys.of_tenant"
if "SHARED" in os.environ:
    ACCOUNT["SHARED"] = True
CLAUDE_BATCHES = {"KICK": "BROKER_URL" in os.environ, "ACCOUNTS": {"default": ACCOUNT}}
