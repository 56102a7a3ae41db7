"""Start a browser, and record forbidden events in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

# Debian's Chromium, instead of the builds that Playwright downloads.
PATH = os.environ.get("CHROMIUM", "/usr/bin/chromium")

TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) => {
  tellViolation(`${event.effectiveDirective} forbids ${event.blockedURI} ${event.sample} in ${event.sourceFile}`);
});
"""


def why_not() -> str:
    """Return what is missing to run a browser on this machine, or ""."""
    if find_spec("playwright") is None or find_spec("axe_playwright_python") is None:
        return "Playwright, of the extra `browser`, is not installed"
    return "" if Path(PATH).exists() else f"{PATH} is not there"


@contextmanager
def chromium() -> Iterator[Any]:
    """Start headless Chromium, and yield Playwright's Browser."""
    # An extra: imported when needed.
    from playwright.sync_api import sync_playwright

    # Playwright's own event loop runs in this thread, and Django takes a thread with one for asynchronous code.
    with sync_playwright() as playwright, mock.patch.dict(os.environ, {"DJANGO_ALLOW_ASYNC_UNSAFE": "true"}):
        browser = playwright.chromium.launch(executable_path=PATH, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Watch:
    """Records what the pages of a context must not do: run scripts, violate the policy, or contact other hosts.

    A page may call `hostile()`, which the hostile outputs do if they are executed.
    """

    def __init__(self, context: Any, origin: str) -> None:
        self.seen: list[str] = []
        self._origin = origin
        context.expose_function("hostile", lambda *arguments: self._note("a script ran", arguments))
        context.expose_function("tellViolation", lambda text: self._note("the policy was violated", text))
        context.add_init_script(TELL_VIOLATIONS)
        # Browsers request the favicon, which the projects do not have.
        context.route("**/favicon.ico", lambda route: route.fulfill(status=204))
        context.on("dialog", self._dismiss)
        context.on("console", lambda message: self._note("the console said", message.text))
        context.on("weberror", lambda error: self._note("a script failed", error.error))
        context.on("request", self._see_request)
        context.on("page", lambda page: self._note("a window was opened", page.url) if len(context.pages) > 1 else None)

    def taken(self) -> list[str]:
        """Return the events since the last call."""
        seen, self.seen = self.seen, []
        return seen

    def _note(self, what: str, about: object) -> None:
        self.seen.append(f"{what}: {about}")

    def _dismiss(self, dialog: Any) -> None:
        self._note("a dialog was opened", dialog.message)
        dialog.dismiss()

    def _see_request(self, request: Any) -> None:
        if not request.url.startswith((self._origin, "data:image/")):
            self._note("a stranger was asked", request.url)
