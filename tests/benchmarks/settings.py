"""Settings of our steps' processes. `DATABASE_URL` is the database that the benchmark created."""

from __future__ import annotations

from tests.settings import *  # noqa: F403

ROOT_URLCONF = "tests.benchmarks.urls"
ALLOWED_HOSTS = ["testserver"]
