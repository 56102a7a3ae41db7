from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django.plugin import DjangoDbBlocker

from tests.browser.console import Console, served
from tests.browser.themes.theme import Theme, installed


@pytest.fixture(scope="session")
def theme() -> Theme:
    return installed()


@pytest.fixture(scope="module")
def console(
    browser: Any, tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker
) -> Iterator[Console]:
    """Without the strict policy: the themes' own pages have scripts and styles inside."""
    with django_db_blocker.unblock(), served(browser, tmp_path_factory.mktemp("console"), policy="") as console:
        yield console


@pytest.fixture(scope="module")
def page(console: Console, office: Any) -> Iterator[Any]:
    """A page on which somebody is logged in who may do everything."""
    page, _watch = console.log_in(office.ada, viewport={"width": 1280, "height": 800})
    page.set_default_timeout(5_000)
    yield page
    page.context.close()
