"""Accessibility: axe finds no serious violation on any page, and the pages can be used by keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.accessibility import grave_violations, out_of_reach, tab_to
from tests.browser.console import Console, address
from tests.browser.looks import BATCHES, FORMS, PAGES
from tests.browser.office import Office
from tests.harness.factories import draft
from tests.harness.selections import slow_but

pytestmark = pytest.mark.browser

# All rules of axe in one form, and in the others only the rules that depend on the form.
RULES: dict[str, list[str] | None] = {
    "light": None,
    "dark": ["color-contrast", "link-in-text-block"],
    "narrow": ["meta-viewport", "scrollable-region-focusable"],
}


@pytest.fixture(params=slow_but(1, FORMS))
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def pages(console: Console, office: Office) -> Iterator[dict[str, Any]]:
    """Return a page in each form, with a superuser logged in."""
    yield (opened := {form: console.log_in(office.ada, **options)[0] for form, options in FORMS.items()})
    for page in opened.values():
        page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_grave_and_nothing_is_too_wide(
    pages: dict[str, Any], office: Office, form: str, name: str
) -> None:
    page = pages[form]
    PAGES[name](page, office)
    assert grave_violations(page, RULES[form]) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= FORMS[form]["viewport"]["width"]


def test_a_batch_is_submitted_and_taken_back_by_the_keyboard_alone(pages: dict[str, Any]) -> None:
    page, batch = pages["light"], draft(2, label="By keyboard")
    page.goto(address(BATCHES, "change", batch.pk))
    for button, state in (("Submit to Claude", "queued"), ("Take back", "draft")):
        tab_to(page, button)
        page.keyboard.press("Enter")
        page.wait_for_selector(".dcb-confirmation")
        tab_to(page, button)
        page.keyboard.press("Enter")
        page.wait_for_selector(".messagelist .success")
        batch.refresh_from_db()
        assert batch.state == state


@pytest.mark.parametrize(
    "name", slow_but(3, sorted(PAGES, key=lambda name: name not in {"batch-complete", "results", "upload-bad"}))
)
def test_the_tab_key_reaches_everything_that_can_be_used(pages: dict[str, Any], office: Office, name: str) -> None:
    page = pages["light"]
    PAGES[name](page, office)
    assert out_of_reach(page) == []


def test_what_the_tab_key_does_not_reach_is_found(pages: dict[str, Any], office: Office) -> None:
    page = pages["light"]
    page.goto(address(BATCHES))
    page.evaluate("document.querySelector('.dcb-tools a').tabIndex = -1")
    (missing,) = out_of_reach(page)
    assert 'tabindex="-1"' in missing


@pytest.mark.parametrize("name", ["catalog", "running", "unconfirmed", "refused", "draft"])
def test_the_tab_key_reaches_each_button_of_a_batch(pages: dict[str, Any], office: Office, name: str) -> None:
    page = pages["light"]
    page.goto(address(BATCHES, "change", getattr(office, name).pk))
    buttons = page.locator(".dcb-tools button").all_inner_texts()
    assert buttons
    for button in buttons:
        tab_to(page, button.strip())


def test_an_action_of_the_list_is_run_by_the_keyboard_alone(pages: dict[str, Any]) -> None:
    page, batch = pages["light"], draft(2, label="From the list")
    page.goto(address(BATCHES, q="From the list"))
    page.focus("#result_list input[name=_selected_action]")
    page.keyboard.press("Space")
    page.focus("select[name=action]")
    page.keyboard.type("Submit")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(".dcb-confirmation")
    tab_to(page, "Submit to Claude")
    page.keyboard.press("Enter")
    page.wait_for_selector(".messagelist .success")
    batch.refresh_from_db()
    assert batch.state == "queued"
