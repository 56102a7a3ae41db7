from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django.plugin import DjangoDbBlocker

from tests.browser.chromium import chromium
from tests.browser.console import Console, served
from tests.browser.office import Office


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Yield a browser for a module, not longer: its event loop in this thread would disturb other tests."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def console(
    browser: Any, tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker
) -> Iterator[Console]:
    """Yield the served admin; all tests of the module share its rows."""
    with django_db_blocker.unblock(), served(browser, tmp_path_factory.mktemp("console")) as console:
        yield console


@pytest.fixture(scope="module")
def office(console: Console) -> Office:
    return console.furnish()
