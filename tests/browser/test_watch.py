"""The watch detects the events that the other tests assert did not happen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.chromium import Watch
from tests.browser.hostile.harmless import taken_for_markup
from tests.browser.hostile.outputs import ATTRIBUTES, MARKUP
from tests.browser.policy import POLICY

pytestmark = pytest.mark.browser

ORIGIN = "http://console.test"


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    context = browser.new_context()
    yield context
    context.close()


def opened(context: Any, body: str, *, policy: str = "") -> list[str]:
    """Open a page with this content; return the recorded events."""
    watch = Watch(context, ORIGIN)
    serve(context, body, policy=policy)
    page = context.new_page()
    page.goto(f"{ORIGIN}/")
    page.wait_for_timeout(100)
    return watch.seen


def serve(context: Any, body: str, *, policy: str = "") -> None:
    headers = {"Content-Security-Policy": policy} if policy else {}
    context.route(f"{ORIGIN}/**", lambda route: route.fulfill(body=body, content_type="text/html", headers=headers))


RUNNING = {
    "<script>hostile(1)</script>": "a script ran: (1,)",
    "<img src=x onerror=hostile(2)>": "a script ran: (2,)",
    "<script>alert(3)</script>": "a dialog was opened: 3",
    "<script>console.log('four')</script>": "the console said: four",
    "<script>throw Error('five')</script>": "a script failed: five",
    "<img src=http://stranger.test/6>": "a stranger was asked: http://stranger.test/6",
}


@pytest.mark.parametrize("body", RUNNING)
def test_without_a_policy_whatever_runs_is_seen(context: Any, body: str) -> None:
    assert RUNNING[body] in opened(context, body)


@pytest.mark.parametrize("body", [*RUNNING, "<p style='color: red'>", "<base href=http://stranger.test>"])
def test_with_the_policy_it_is_seen_that_something_tried(context: Any, body: str) -> None:
    seen = opened(context, body, policy=POLICY)
    assert [line for line in seen if line.startswith("the policy was violated: ")], seen
    assert not [line for line in seen if line.startswith(("a script", "a dialog"))], seen


def test_each_output_would_be_found_where_it_is_markup(context: Any) -> None:
    page = context.new_page()
    places = ("{}", '<p title="{}">', "<p title='{}'>", "<p title={}>", '<a href="{}">')
    outputs = (MARKUP | ATTRIBUTES).items()
    unnoticed = {
        name
        for name, output in outputs
        if not any(taken_for_markup(page, place.replace("{}", output)) for place in places)
    }
    assert unnoticed == set()


def test_a_page_that_does_nothing_is_left_alone(context: Any) -> None:
    assert opened(context, "<!doctype html><title>Quiet</title><p>&lt;script&gt;", policy=POLICY) == []
