"""A site's web process, and a user who is logged in to its admin."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import requests
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.reliability.servers import free_port
from tests.reliability.site import Site

BATCHES = "admin:django_claude_batches_messagebatch_changelist"
BATCH = "admin:django_claude_batches_messagebatch_change"


class Visitor:
    """Opens pages and confirms actions; AssertionError for an answer that says that something is broken.

    `slowest` is how many seconds the slowest answer took.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._session = requests.Session()
        self._session.trust_env = False
        self._base = ""
        self.slowest = 0.0

    def arrive(self) -> None:
        """Start the web process, and log in."""
        port = free_port()
        self._base = f"http://127.0.0.1:{port}"
        self._site.start("-m", "django", "runserver", "--noreload", "--verbosity=0", f"127.0.0.1:{port}")
        client = Client()
        client.force_login(User.objects.create_superuser("ada"))
        self._session.cookies.set(settings.SESSION_COOKIE_NAME, client.cookies[settings.SESSION_COOKIE_NAME].value)
        self._site.until(self._is_open)
        self.slowest = 0.0

    def opens(self, name: str, *arguments: int) -> str:
        return self.gets(reverse(name, args=arguments))

    def gets(self, path: str) -> str:
        return self._answer(lambda: self._session.get(self._base + path, timeout=60))

    def does(self, action: str, *pks: int) -> str:
        """Run an action on some batches, with its confirmation; return the next page."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.opens(BATCHES))
        assert token is not None
        data = {
            "action": action,
            "_selected_action": [str(pk) for pk in pks],
            "confirmed": "yes",
            "csrfmiddlewaretoken": token[1],
        }
        return self._answer(lambda: self._session.post(self._base + reverse(BATCHES), data=data, timeout=60))

    def _is_open(self) -> bool:
        try:
            self.opens(BATCHES)
        except requests.ConnectionError:
            return False
        return True

    def _answer(self, ask: Callable[[], requests.Response]) -> str:
        begun = time.monotonic()
        response = ask()
        self.slowest = max(self.slowest, time.monotonic() - begun)
        assert response.status_code == 200, f"{response.status_code}\n{response.text[:5000]}\n{self._site.said()}"
        return response.text
