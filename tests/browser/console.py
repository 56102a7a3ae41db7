"""Serve the admin from this process with its own database, and log in users."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.servers.basehttp import ThreadedWSGIServer
from django.test import Client, override_settings
from django.test.testcases import LiveServerThread
from django.urls import reverse

from django_claude_batches.testing import ClaudeEmulator
from tests.browser import office_jobs
from tests.browser.chromium import Watch
from tests.browser.day import Day, begun
from tests.browser.office import Office, answer
from tests.browser.policy import MIDDLEWARE
from tests.harness import databases
from tests.reliability.site import Site

APP = "django_claude_batches"


class Server(ThreadedWSGIServer):
    # Wait at the end for the threads that answer: files that they leave open would cause warnings in other tests.
    daemon_threads = False


class ServerThread(LiveServerThread):
    server_class = Server


@dataclass(frozen=True)
class Console:
    url: str
    browser: Any
    claude: ClaudeEmulator
    day: Day

    def log_in(self, user: User, **options: Any) -> tuple[Any, Watch]:
        """Return a page on which this user is logged in, and the watch of its context."""
        context = self.browser.new_context(base_url=self.url, **options)
        client = Client()
        client.force_login(user)
        name = settings.SESSION_COOKIE_NAME
        context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": self.url}])
        watch = Watch(context, self.url)
        return context.new_page(), watch

    def furnish(self) -> Office:
        office = Office(self.claude, self.day)
        office.work()
        return office


@contextmanager
def served(browser: Any, folder: Path) -> Iterator[Console]:
    """Serve with the strict policy, from a SQLite file in the folder, which is also the test's database.

    The time is fixed to a Monday morning. Themes have inline scripts and styles, so they are served without the policy.
    """
    middleware = settings.MIDDLEWARE if hasattr(settings, "THEME") else [MIDDLEWARE, *settings.MIDDLEWARE]
    with (
        begun() as day,
        office_jobs.declared(),
        ClaudeEmulator(seed=1, replies=answer, processed_share=0.6) as claude,
        databases.new(databases.SQLITE, folder) as url,
        Site(url, folder, claude).open(),  # type: ignore[arg-type]
        override_settings(MIDDLEWARE=middleware, ALLOWED_HOSTS=["127.0.0.1"]),
    ):
        server = ServerThread("127.0.0.1", StaticFilesHandler)
        server.start()
        server.is_ready.wait()
        try:
            day.claude = claude
            yield Console(f"http://127.0.0.1:{server.port}", browser, claude, day)
        finally:
            for context in browser.contexts:
                context.close()
            server.terminate()


def address(model: str, name: str = "changelist", *arguments: Any, **query: Any) -> str:
    return reverse(f"admin:{APP}_{model}_{name}", args=arguments, query=query or None)


def everybody() -> User:
    """Create a user with all permissions."""
    return User.objects.create_superuser("ada", first_name="Ada")


def staff(*codenames: str, username: str = "grace") -> User:
    """Create a staff user with only these permissions of the package."""
    user = User.objects.create_user(username, password="grace", is_staff=True)
    found = Permission.objects.filter(content_type__app_label=APP, codename__in=codenames)
    assert found.count() == len(codenames)
    user.user_permissions.set(found)
    return user
