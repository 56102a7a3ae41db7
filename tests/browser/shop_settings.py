"""The example project's settings with the strict policy."""

from __future__ import annotations

from config.settings import *  # noqa: F403
from config.settings import MIDDLEWARE

from tests.browser import policy

MIDDLEWARE = [policy.MIDDLEWARE, *MIDDLEWARE]
