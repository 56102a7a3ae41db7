"""Settings that need no servers: SQLite, a broker that uses files, and the emulator instead of Anthropic.

DATABASE_URL, REDIS_URL or CELERY_BROKER_URL, and ANTHROPIC_API_KEY replace them.
"""

from __future__ import annotations

import os
import sys

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key
from kombu.transport import TRANSPORT_ALIASES

from config.places import BASE_DIR, var
from django_claude_batches.schedule import BEAT_SCHEDULE

VAR = var()

# Only for runserver: with DEBUG, Django keeps the text of each query in memory, and a worker makes many.
DEBUG = "runserver" in sys.argv
# Only runserver, on your own machine, uses this public key. Without the variable any other process has a random key,
# which is enough for a worker or a command; `config.wsgi`, whose processes share sessions, requires the variable.
PUBLIC_KEY = "not a secret: this project is for your own machine"
SECRET_KEY = os.environ.get("SECRET_KEY") or (PUBLIC_KEY if DEBUG else get_random_secret_key())
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_claude_batches",
    "reviews",
    "demo",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
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

# The database

SQLITE_OPTIONS = {
    # A worker, beat and a web process share the file. With WAL, readers and the writer do not block each other; an
    # IMMEDIATE transaction waits for the write lock at its beginning, where SQLite retries until the timeout.
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
}
if os.environ.get("DATABASE_URL"):
    DATABASES = {"default": dj_database_url.config()}
else:
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": VAR / "db.sqlite3"}}
if DATABASES["default"]["NAME"] == ":memory:":
    raise ImproperlyConfigured("DATABASE_URL names a database in memory: a worker and a web process cannot share it.")
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A relative path is relative to this project, not to the current folder.
    DATABASES["default"] |= {"NAME": BASE_DIR / DATABASES["default"]["NAME"], "OPTIONS": SQLITE_OPTIONS}
if DATABASES["default"]["ENGINE"].endswith("mysql"):
    DATABASES["default"]["OPTIONS"] = {"charset": "utf8mb4"}

# Celery

CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL") or os.environ.get("REDIS_URL") or "filesystem://"
if CELERY_BROKER_URL == "filesystem://":
    TRANSPORT_ALIASES["filesystem"] = "config.broker:Transport"
    folders = {name: VAR / "broker" / name for name in ("messages", "control")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(folders["messages"]),
        "data_folder_out": str(folders["messages"]),
        "control_folder": str(folders["control"]),
    }
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = os.environ.get("DEMO_QUEUE", "claude-batches-example")
CELERY_BEAT_SCHEDULE = {**BEAT_SCHEDULE}
if tick_seconds := os.environ.get("DEMO_TICK_SECONDS"):
    # The demo ticks more often. Your project needs only the line above.
    name = "django_claude_batches.tick"
    CELERY_BEAT_SCHEDULE[name] = {**BEAT_SCHEDULE[name], "schedule": float(tick_seconds)}

# Claude: the demo starts an emulator, and uses the account "emulator".

EMULATOR_URL = "http://127.0.0.1:8788"
CLAUDE_BATCHES = {
    "ACCOUNTS": {
        "emulator": {"API_KEY": "key-of-no-worth", "BASE_URL": os.environ.get("DEMO_EMULATOR_URL", EMULATOR_URL)},
    },
}
if not os.environ.get("ANTHROPIC_API_KEY"):
    CLAUDE_BATCHES["ACCOUNTS"]["default"] = {"API_KEY": "key-of-no-worth", "BASE_URL": EMULATOR_URL}
