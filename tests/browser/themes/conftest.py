from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.console import Console
from tests.browser.office import Office
from tests.browser.themes.theme import Theme, installed


@pytest.fixture
def theme() -> Theme:
    return installed()


@pytest.fixture(scope="module")
def page(console: Console, office: Office) -> Iterator[Any]:
    """Return a page with a superuser logged in."""
    page, _watch = console.log_in(office.ada, viewport={"width": 1280, "height": 800})
    page.set_default_timeout(20_000)
    yield page
    page.context.close()
