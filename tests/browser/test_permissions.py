"""Actions without permission are not offered, and are refused if requested by a script."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from django.urls import reverse

from django_claude_batches.models import MessageBatch
from tests.browser.console import Console, address, staff
from tests.browser.looks import ACCOUNTS, BATCHES, EXPORT, REQUESTS, RESULTS
from tests.browser.office import Office

pytestmark = pytest.mark.browser

PERMISSIONS = {"submit", "cancel", "delete_remote", "advance", "reingest", "retry", "identify", "delete"}

# The actions by name: the button, the permission, and a batch for which it is allowed.
ACTIONS = {
    "submit": ("Submit to Claude", "submit", "draft"),
    "take_back": ("Take back", "cancel", "queued"),
    "cancel": ("Cancel", "cancel", "running"),
    "check": ("Check now", "advance", "running"),
    "announce_again": ("Rerun receivers", "advance", "catalog"),
    "reingest": ("Fetch results again", "reingest", "catalog"),
    "retry": ("Retry failed rows", "retry", "catalog"),
    "delete_remote": ("Delete at Anthropic", "delete_remote", "catalog"),
    "identify": ("Identify batch…", "identify", "unconfirmed"),
    "abandon": ("Abandon", "identify", "unconfirmed"),
    "delete_selected": ("Delete", "delete", "draft"),
}

# Numbers of staff users, each of whom is new.
NUMBERS = count()

# A request that a script on the page could send, with the session's cookie and the token.
POST = """async ([url, fields]) => {
  const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
  const body = new URLSearchParams([...Object.entries(fields), ["csrfmiddlewaretoken", token]]);
  return (await fetch(url, {method: "POST", body, redirect: "manual"})).status;
}"""


def everything() -> list[Any]:
    return list(MessageBatch.objects.order_by("pk").values())


@pytest.fixture
def as_staff(console: Console, office: Office) -> Iterator[Any]:
    """Open a page for a user with these permissions."""
    opened = []

    def open_page(*codenames: str) -> Any:
        page, _watch = console.log_in(staff(*codenames, username=f"staff-{next(NUMBERS)}"))
        opened.append(page)
        return page

    yield open_page
    for page in opened:
        page.context.close()


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_without_its_permission(as_staff: Any, office: Office, action: str) -> None:
    button, permission, name = ACTIONS[action]
    others = {f"{other}_messagebatch" for other in PERMISSIONS - {permission}}
    page, before = as_staff("view_messagebatch", *sorted(others)), everything()
    batch = getattr(office, name)
    page.goto(address(BATCHES, "change", batch.pk))
    assert page.locator(".dcb-tools, .submit-row").get_by_text(button).count() == 0
    page.goto(address(BATCHES))
    assert action not in page.locator("select[name=action]").inner_html()
    by_hand = {"_selected_action": batch.pk, "confirmed": "yes", "word": "abandon", "typed_id": "msgbatch_1"}
    assert page.evaluate(POST, [address(BATCHES), {**by_hand, "action": action}]) == 403
    assert everything() == before


def test_who_may_only_view_is_offered_nothing(as_staff: Any, office: Office) -> None:
    page, before = as_staff("view_messagebatch"), everything()
    page.goto(address(BATCHES))
    assert page.locator("select[name=action], input[type=checkbox]").count() == 0
    for batch in (office.catalog, office.running, office.unconfirmed, office.draft):
        page.goto(address(BATCHES, "change", batch.pk))
        assert page.locator("#content").locator("button:not([data-dcb-copy]), input[type=submit]").count() == 0
    url = address(BATCHES, "change", office.draft.pk)
    assert page.evaluate(POST, [url, {"label": "Mine"}]) == 403
    assert page.evaluate(POST, [address(BATCHES, "delete", office.draft.pk), {"post": "yes"}]) == 403
    assert everything() == before


def test_prompts_and_answers_are_not_shown_to_who_may_view_batches_alone(as_staff: Any, office: Office) -> None:
    page = as_staff("view_messagebatch")
    page.goto(address(BATCHES, "change", office.catalog.pk))
    shown = page.content()
    assert "40 errored" in page.inner_text("#content")
    assert "days that begin cold" not in shown
    assert "which has double-knit cuffs" not in shown
    for url in (
        address(RESULTS, batch=office.catalog.pk),
        address(RESULTS, "change", office.catalog.results.all()[0].pk),
        address(REQUESTS, batch=office.catalog.pk),
        address(REQUESTS, "change", office.catalog.requests.all()[0].pk),
        address(ACCOUNTS),
        reverse(EXPORT, args=[office.catalog.pk]),
    ):
        assert page.goto(url).status == 403
