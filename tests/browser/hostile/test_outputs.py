"""Hostile outputs are shown as text on every page: they are not executed, and the policy is not violated."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.urls import reverse

from django_claude_batches.models import JobRun, MessageBatch
from tests.browser.chromium import Watch
from tests.browser.console import Console, address, everybody
from tests.browser.hostile import rows as hostile_rows
from tests.browser.hostile.harmless import shown, taken_for_markup
from tests.browser.hostile.outputs import OUTPUTS
from tests.browser.looks import ACCOUNTS, BATCHES, EXPORT, REQUESTS, RESULTS, RUNS

pytestmark = pytest.mark.browser

COMPLETE, UNCONFIRMED = "complete", "unconfirmed"


@pytest.fixture(scope="module")
def rows(console: Console) -> dict[str, MessageBatch]:
    hostile_rows.drafts()
    hostile_rows.accounts()
    hostile_rows.runs()
    return {COMPLETE: hostile_rows.complete(), UNCONFIRMED: hostile_rows.unconfirmed()}


@pytest.fixture(scope="module")
def tab(console: Console, rows: dict[str, MessageBatch]) -> Iterator[tuple[Any, Watch]]:
    page, watch = console.log_in(everybody())
    yield page, watch
    page.context.close()


def assert_harmless(page: Any, watch: Watch, *, at_least: int, within: str = "#content") -> None:
    """Assert that at least this number of outputs is visible in this part of the page, and harmless."""
    names = shown(page, within=within)
    assert len(names) >= at_least, f"only {len(names)} are shown, without {sorted(OUTPUTS.keys() - names)}"
    assert taken_for_markup(page) == []
    assert watch.taken() == []


PAGES: dict[str, tuple[Callable[[dict[str, MessageBatch]], str], int]] = {
    "the list of batches": (lambda rows: address(BATCHES), 60),
    "its second page": (lambda rows: address(BATCHES, p=2), 20),
    "a search": (lambda rows: address(BATCHES, q="hostile"), 30),
    "a complete batch": (lambda rows: address(BATCHES, "change", rows[COMPLETE].pk), 60),
    "an unconfirmed batch": (lambda rows: address(BATCHES, "change", rows[UNCONFIRMED].pk), 30),
    "a draft": (lambda rows: address(BATCHES, "change", 1), 1),
    "a draft's deletion": (lambda rows: address(BATCHES, "delete", 1), 1),
    "a batch's history": (lambda rows: address(BATCHES, "history", rows[COMPLETE].pk), 1),
    "the results of a batch": (lambda rows: address(RESULTS, batch=rows[COMPLETE].pk), 60),
    "the failures of a batch": (lambda rows: address(RESULTS, batch=rows[COMPLETE].pk, outcome="errored"), 30),
    "the export of a batch": (lambda rows: reverse(EXPORT, args=[rows[COMPLETE].pk]), 0),
    "the requests of a batch": (lambda rows: address(REQUESTS, batch=rows[COMPLETE].pk), 60),
    "an answer": (lambda rows: address(RESULTS, "change", _last(rows, "results", back=1)), len(OUTPUTS)),
    "a long answer": (lambda rows: address(RESULTS, "change", _last(rows, "results", back=0)), 0),
    "an error": (lambda rows: address(RESULTS, "change", rows[COMPLETE].results.errored()[0].pk), 1),
    "a prompt": (lambda rows: address(REQUESTS, "change", _last(rows, "requests", back=1)), 50),
    "the accounts": (lambda rows: address(ACCOUNTS), 60),
    "an account": (lambda rows: address(ACCOUNTS, "change", 1), 1),
    "the runs": (lambda rows: address(RUNS), 40),
    "a run": (lambda rows: address(RUNS, "change", _last_run()), 60),
    "a run's history": (lambda rows: address(RUNS, "history", _last_run()), 1),
    "the batch of a run": (lambda rows: address(BATCHES, "change", MessageBatch.objects.get(run=_last_run()).pk), 1),
    "the jobs": (lambda rows: address(RUNS, "jobs"), 0),
    "the index": (lambda rows: "/admin/", 0),
}


def _last_run() -> int:
    return int(JobRun.objects.order_by("-pk")[0].pk)


def _last(rows: dict[str, MessageBatch], name: str, *, back: int) -> int:
    return int(getattr(rows[COMPLETE], name).order_by("-pk")[back].pk)


@pytest.mark.parametrize("name", PAGES)
def test_a_page(tab: tuple[Any, Watch], rows: dict[str, MessageBatch], name: str) -> None:
    page, watch = tab
    find, at_least = PAGES[name]
    response = page.goto(find(rows))
    assert response.status == 200
    assert_harmless(page, watch, at_least=at_least)


# Labels of a few batches of each kind, because a list of all takes long.
SOME = "<script data-hostile>hostile(1)"


def choose(page: Any, action: str, **query: str) -> None:
    """Run an action of the list of batches on all rows of its first page."""
    page.goto(address(BATCHES, **query))
    page.check("#action-toggle")
    page.select_option("select[name=action]", action)
    page.click("button[name=index]")
    page.wait_for_load_state()


def test_the_confirmation_of_each_action(tab: tuple[Any, Watch], rows: dict[str, MessageBatch]) -> None:
    page, watch = tab
    page.goto(address(BATCHES))
    actions = page.eval_on_selector_all("select[name=action] option", "options => options.map(option => option.value)")
    confirmed = []
    for action in filter(None, actions):
        choose(page, action, q=SOME)
        assert_harmless(page, watch, at_least=1)
        confirmed += [action] * page.locator("input[name=confirmed]").count()
    assert {"submit", "abandon", "delete_selected"} <= set(confirmed)


@pytest.mark.parametrize("action", ["resume", "cancel", "redeliver_failed"])
def test_an_action_of_runs_and_what_it_says(tab: tuple[Any, Watch], rows: dict[str, MessageBatch], action: str) -> None:
    page, watch = tab
    page.goto(address(RUNS))
    page.check("#action-toggle")
    page.select_option("select[name=action]", action)
    page.click("button[name=index]")
    page.wait_for_load_state()
    assert page.locator("input[name=confirmed]").count() == 1
    assert_harmless(page, watch, at_least=1)


def test_what_an_action_says_afterwards(tab: tuple[Any, Watch], rows: dict[str, MessageBatch]) -> None:
    page, watch = tab
    choose(page, "submit")
    if page.locator("input[name=requests]").count():  # these models have no price
        page.fill("input[name=requests]", str(page.locator("input[name=_selected_action]").count()))
    page.click(".submit-row input[type=submit]")
    page.wait_for_load_state()
    assert "skipped" in page.inner_text(".messagelist")
    assert_harmless(page, watch, at_least=5, within=".messagelist")


def test_what_refreshes_itself(tab: tuple[Any, Watch], rows: dict[str, MessageBatch]) -> None:
    page, watch = tab
    batch = rows[UNCONFIRMED]
    page.goto(address(BATCHES, "change", batch.pk))
    MessageBatch.objects.filter(pk=batch.pk).update(last_error=f"by now {hostile_rows.ALL}")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as if its tab were shown again
    page.get_by_text("by now <script data-hostile>").first.wait_for()
    assert_harmless(page, watch, at_least=len(OUTPUTS))


def test_an_uploaded_table(tab: tuple[Any, Watch], rows: dict[str, MessageBatch]) -> None:
    """Names of columns, cells, bad rows and the name of the file."""
    page, watch = tab
    names = [f"{number}{text}" for number, text in enumerate(hostile_rows.TEXTS[:20])]
    table = io.StringIO()
    csv.writer(table).writerows([names, names, [*names, "too many"]])
    page.goto(address(BATCHES, "add"))
    file = {"name": "<img data-hostile src=x onerror=hostile(1)>.csv", "mimeType": "text/csv"}
    page.set_input_files("input[type=file]", {**file, "buffer": table.getvalue().encode()})
    page.fill("[name=prompt]", f"{hostile_rows.TEXTS[1]} {{{names[0]}}} {{{names[15]}}}")
    page.fill("[name=model]", hostile_rows.TEXTS[0][:60])
    page.fill("[name=label]", hostile_rows.TEXTS[2])
    page.click("text=Check the file")
    page.wait_for_load_state()
    assert "What the check found" in page.inner_text("#content")
    assert_harmless(page, watch, at_least=2)
    page.goto(address(BATCHES, "add"))
    assert_harmless(page, watch, at_least=0)
