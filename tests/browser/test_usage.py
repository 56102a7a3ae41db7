"""The page of usage in a browser: all columns are visible, and its chart works by keyboard and without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches.models import UsageRollup
from tests.browser.accessibility import grave_violations, tab_to
from tests.browser.console import Console, address
from tests.browser.looks import FORMS, USAGE
from tests.browser.office import Office

pytestmark = pytest.mark.browser

TOO_WIDE = "[...document.querySelectorAll('.dcb-scroll')].filter(each => each.scrollWidth > each.clientWidth).length"


@pytest.fixture(scope="module")
def year(console: Console, office: Office) -> Iterator[None]:
    """Create usage of seven models over two months, with large numbers and unknown costs."""
    now = timezone.now()
    made = UsageRollup.objects.bulk_create(
        UsageRollup(
            ended_at=now - timedelta(hours=9 * number),
            kind="tickets",
            starter="ida",
            model=f"claude-model-{number % 7}-5",
            results=9_000,
            unpriced_results=number % 5,
            input_tokens=90_000_000,
            cache_read_tokens=80_000_000,
            output_tokens=7_000_000,
            cost_usd=Decimal(number % 11) * 10,
        )
        for number in range(150)
    )
    yield
    UsageRollup.objects.filter(pk__in=[row.pk for row in made]).delete()


@pytest.mark.parametrize("width", [1280, 1440])
@pytest.mark.parametrize("by", ["", "model"])
def test_no_column_is_out_of_sight(console: Console, office: Office, year: None, width: int, by: str) -> None:
    page, _watch = console.log_in(office.ada, viewport={"width": width, "height": 900})
    page.goto(address(USAGE, by=by))
    assert page.locator("#nav-sidebar").is_visible()
    assert page.locator(".dcb-scroll").count() == 3
    assert page.evaluate(TOO_WIDE) == 0
    page.context.close()


@pytest.mark.parametrize("form", FORMS)
def test_axe_finds_nothing_grave_in_a_full_chart(console: Console, office: Office, year: None, form: str) -> None:
    page, _watch = console.log_in(office.ada, **FORMS[form])
    page.goto(address(USAGE, by="model"))
    assert grave_violations(page) == []
    page.context.close()


def test_the_chart_is_read_and_followed_by_the_keyboard_without_a_script(
    console: Console, office: Office, year: None
) -> None:
    page, _watch = console.log_in(office.ada, java_script_enabled=False)
    page.goto(address(USAGE, by="model"))
    page.focus("text=Skip the chart")
    page.keyboard.press("Tab")  # the chart's region
    page.keyboard.press("Tab")
    column = page.locator("svg.dcb-chart a").first
    hint: Any = column.locator(".dcb-hint")
    assert hint.is_visible()
    assert not page.locator("svg.dcb-chart a .dcb-hint").nth(1).is_visible()
    told = str(column.get_attribute("aria-label"))
    assert told.startswith(hint.text_content())
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "since=" in page.url
    assert page.locator("svg.dcb-chart a").count() in {0, 1}
    page.context.close()


def test_the_chart_can_be_skipped(console: Console, office: Office, year: None) -> None:
    page, _watch = console.log_in(office.ada)
    page.goto(address(USAGE))
    page.focus("text=Skip the chart")
    assert page.locator(".dcb-skip a").bounding_box()["width"] > 50
    page.keyboard.press("Enter")
    tab_to(page, "Download as CSV", within=5)
    page.context.close()
