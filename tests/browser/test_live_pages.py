"""A batch's page refreshes its numbers while it is visible, and makes no requests while it is hidden."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from django_claude_batches import services
from tests.browser.console import Console, address
from tests.browser.office import Office
from tests.harness.factories import draft

pytestmark = pytest.mark.browser

BATCHES = "messagebatch"

# Milliseconds.
MINUTE = 60_000

HIDE = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true})"
TELL = "document.dispatchEvent(new Event('visibilitychange'))"


@pytest.fixture(scope="module")
def ada(console: Console, office: Office) -> Any:
    return User.objects.get(username="ada")


class Asked:
    """Counts the requests of the page for its parts that refresh."""

    def __init__(self, page: Any) -> None:
        self._count = 0
        page.on("request", self._see)

    def _see(self, request: Any) -> None:
        self._count += request.url.endswith("/card/")

    def within(self, page: Any, milliseconds: int) -> int:
        """Let this much time pass in steps of ten seconds, with a moment for the answers after each."""
        self._count = 0
        for _step in range(milliseconds // 10_000):
            page.clock.run_for(10_000)
            page.wait_for_timeout(100)
        return self._count


def opened(console: Console, user: Any, pk: int, **options: Any) -> tuple[Any, Asked]:
    page, _watch = console.log_in(user, **options)
    page.clock.install()
    asked = Asked(page)
    page.goto(address(BATCHES, "change", pk))
    return page, asked


def turn(page: Any, *, hidden: bool) -> None:
    page.evaluate(HIDE % ("true" if hidden else "false"))
    page.evaluate(TELL)


def test_a_hidden_tab_asks_nothing_and_one_that_is_seen_again_asks_at_once(
    console: Console, ada: Any, office: Office
) -> None:
    page, asked = opened(console, ada, office.running.pk)
    assert asked.within(page, MINUTE) >= 2
    turn(page, hidden=True)
    assert asked.within(page, 10 * MINUTE) == 0
    with page.expect_request("**/card/"):
        turn(page, hidden=False)
    assert asked.within(page, MINUTE) >= 2


def test_a_batch_that_does_not_move_is_not_asked_for(console: Console, ada: Any, office: Office) -> None:
    page, asked = opened(console, ada, office.catalog.pk)
    assert asked.within(page, 5 * MINUTE) == 0


def test_what_fails_is_asked_for_less_and_less_and_what_is_refused_no_more(
    console: Console, ada: Any, office: Office
) -> None:
    page, asked = opened(console, ada, office.running.pk)
    page.route("**/card/", lambda route: route.fulfill(status=500))
    first = asked.within(page, 2 * MINUTE)
    assert 1 <= asked.within(page, 2 * MINUTE) < first
    page.unroute("**/card/")
    page.route("**/card/", lambda route: route.fulfill(status=403))
    asked.within(page, 3 * MINUTE)
    assert asked.within(page, 10 * MINUTE) == 0


def test_without_scripts_a_batch_is_submitted_and_its_page_tells_the_same(
    console: Console, ada: Any, office: Office
) -> None:
    batch = draft(2, label="Without scripts")
    page, _watch = console.log_in(ada, java_script_enabled=False)
    page.goto(address(BATCHES, "change", batch.pk))
    page.click("text=Submit to Claude")
    page.click("input[value='Submit to Claude']")
    assert "is queued" in page.inner_text(".messagelist .success")
    page.goto(address(BATCHES, "change", batch.pk))
    assert "Waiting to be sent" in page.inner_text("[data-dcb-part='card']")
    batch.refresh_from_db()
    assert batch.state == "queued"


def test_the_buttons_are_those_of_the_state_that_the_page_shows(console: Console, ada: Any, office: Office) -> None:
    """Without reloading the page: a refreshed button belongs to the form of the page."""
    batch = services.submit(draft(2, label="Live buttons"))
    page, asked = opened(console, ada, batch.pk)
    page.focus("button[value=check]")
    assert page.locator("[form=dcb-actions]").all_inner_texts() == ["Take back", "Check now"]
    services.advance(batch)
    asked.within(page, MINUTE)
    assert page.locator("[form=dcb-actions]").all_inner_texts() == ["Cancel", "Check now", "Delete at Anthropic"]
    assert page.evaluate("document.activeElement.value") == "check"
    page.locator("button[value=cancel]").focus()
    page.locator("button[value=cancel]").click()
    page.wait_for_selector(".dcb-confirmation")
    page.click("input[value=Cancel]")
    page.wait_for_selector(".messagelist .success")
    batch.refresh_from_db()
    assert batch.cancel_requested_at is not None


def test_the_focus_of_a_button_that_is_gone_is_on_no_other_button(console: Console, ada: Any, office: Office) -> None:
    """A person who presses Enter at that moment does not press another button."""
    batch = services.submit(draft(2, label="Gone button"))
    page, asked = opened(console, ada, batch.pk)
    page.focus("button[value=take_back]")
    services.advance(batch)
    asked.within(page, MINUTE)
    assert page.locator("button[value=take_back]").count() == 0
    assert page.evaluate("document.activeElement.dataset.dcbPart") == "buttons"


def test_an_id_of_anthropic_is_copied_by_a_button_and_selected_by_one_click_without_scripts(
    console: Console, ada: Any, office: Office
) -> None:
    id_ = office.catalog.anthropic_id
    page, _watch = console.log_in(ada, permissions=["clipboard-read", "clipboard-write"])
    page.goto(address(BATCHES, "change", office.catalog.pk))
    button = page.get_by_role("button", name=f"Copy {id_}").first
    button.click()
    page.get_by_text("Copied", exact=True).first.wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == id_
    assert page.url.endswith("/change/")
    page.context.close()
    page, _watch = console.log_in(ada, java_script_enabled=False)
    page.goto(address(BATCHES, "change", office.catalog.pk))
    assert page.get_by_role("button", name=f"Copy {id_}").count() == 0
    assert page.locator(".dcb-id").first.inner_text() == id_
