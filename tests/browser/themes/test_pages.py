"""In each theme, each page opens, and its buttons and links work."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import BatchUpload, JobRun, MessageBatch, RunState, State
from tests.browser.accessibility import grave_violations, tab_to
from tests.browser.console import Console, address
from tests.browser.looks import BATCHES, FORMS, PAGES, REQUESTS, RESULTS, RUNS, TABLES
from tests.browser.office import Office
from tests.browser.themes.theme import Theme
from tests.harness.factories import draft

pytestmark = [
    pytest.mark.browser,
    # A deprecation warning of Django 6.1 for Unfold.
    pytest.mark.filterwarnings("ignore:Overriding get_action_choices"),
]

BUTTONS = "[form=dcb-actions]"

# The parts that axe checks: those of this package, not those of the theme.
OURS = [["[class^=dcb-]"], ["[class*=' dcb-']:not(body)"]]

RULES = ["color-contrast", "nested-interactive", "label", "button-name"]

TOO_WIDE = """() => [...document.querySelectorAll("[class^=dcb-], [class*=' dcb-']")].filter((element) => {
  const box = element.getBoundingClientRect();
  const scrolls = element.closest(".dcb-scroll, #result_list, pre, .results");
  return box.width && (!scrolls || scrolls === element) && box.right > innerWidth + 1;
}).map((element) => element.outerHTML.slice(0, 120))"""

# Buttons whose text is cut off.
CUT = """() => [...document.querySelectorAll("button[class*='dcb-'], a[class*='dcb-button']")].filter(
  (element) => element.scrollWidth > element.clientWidth || element.scrollHeight > element.clientHeight
).map((element) => element.outerHTML.slice(0, 120))"""

# Whether the button is covered, or cannot be clicked.
HIDDEN = """(button) => {
  const box = button.getBoundingClientRect();
  const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return box.height < 20 || !(top && (top === button || button.contains(top)));
}"""


class Forms(HTMLParser):
    """Finds a form inside another one in the source of a page, because a browser silently drops it."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.depth, self.deepest = 0, 0
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "form":
            self.depth += 1
            self.deepest = max(self.depth, self.deepest)

    def handle_endtag(self, tag: str) -> None:
        self.depth -= tag == "form"


def does(page: Any, button: str) -> None:
    """Press a button on a row's page, and confirm."""
    page.locator(BUTTONS).get_by_text(button, exact=True).click()
    page.wait_for_selector(".dcb-confirmation")
    page.locator(".dcb-confirmation .submit-row").get_by_role("button", name=confirmed(button)).click()
    page.wait_for_url("**/change/")


def confirmed(button: str) -> str:
    """Return the label of the confirmation's button, without its number."""
    return button.partition(" (")[0]


def see(page: Any, text: str) -> None:
    page.get_by_text(text).first.wait_for()


@pytest.mark.parametrize("name", PAGES)
def test_each_page_opens_without_a_form_in_a_form(page: Any, office: Office, name: str) -> None:
    broken = []

    def see_answer(answer: Any) -> None:
        if answer.status >= 400 and "favicon" not in answer.url:
            broken.append(f"{answer.status} {answer.url}")

    page.on("response", see_answer)
    PAGES[name](page, office)
    page.remove_listener("response", see_answer)
    assert broken == []
    assert Forms(page.request.get(page.url).text()).deepest <= 1


BATCH_BUTTONS = {
    "draft": {"Submit to Claude"},
    "queued": {"Take back", "Check now"},
    "running": {"Cancel", "Check now", "Delete at Anthropic"},
    "catalog": {"Retry failed rows (40)", "Fetch results again", "Rerun receivers", "Delete at Anthropic"},
    "unconfirmed": {"Identify batch…", "Abandon", "Cancel", "Check now", "Delete at Anthropic"},
    "refused": {"Submit to Claude"},
}
RUN_BUTTONS = {
    "run": {"Retry failed rows (5)", "Redeliver (16)"},
    "moving_run": {"Pause", "Cancel"},
    "paused_run": {"Resume", "Resume without rows that cannot be asked", "Cancel"},
}


@pytest.mark.parametrize("name", [*BATCH_BUTTONS, *RUN_BUTTONS])
def test_each_button_can_be_pressed_and_asks_first(page: Any, office: Office, name: str) -> None:
    model, row = (RUNS if name in RUN_BUTTONS else BATCHES), getattr(office, name)
    page.goto(address(model, "change", row.pk))
    buttons = [text.strip() for text in page.locator(BUTTONS).all_text_contents()]
    assert set(buttons) == {**BATCH_BUTTONS, **RUN_BUTTONS}[name]
    for button in buttons:
        found = page.locator(BUTTONS).get_by_text(button, exact=True)
        assert not found.evaluate(HIDDEN), button
        found.click()
        page.wait_for_selector(".dcb-confirmation")
        confirm = page.locator(".dcb-confirmation .submit-row").get_by_role("button", name=confirmed(button))
        assert not confirm.evaluate(HIDDEN)
        page.locator(".dcb-confirmation .closelink").click()
        page.wait_for_url(f"**/{row.pk}/change/")


def test_a_draft_is_submitted_taken_back_and_canceled(console: Console, page: Any) -> None:
    batch = draft(2, label="In a theme")
    page.goto(address(BATCHES, "change", batch.pk))
    for button, state in (
        ("Submit to Claude", State.QUEUED),
        ("Take back", State.DRAFT),
        ("Submit to Claude", State.QUEUED),
    ):
        does(page, button)
        batch.refresh_from_db()
        assert batch.state == state
    services.advance(batch)
    page.reload()
    does(page, "Cancel")
    batch.refresh_from_db()
    assert batch.cancel_requested_at is not None


def test_failed_rows_are_retried_and_a_run_is_paused(page: Any, office: Office) -> None:
    page.goto(address(BATCHES, "change", office.catalog.pk))
    does(page, "Retry failed rows (40)")
    assert MessageBatch.objects.filter(parent=office.catalog).count() == 2
    page.goto(address(RUNS, "change", office.moving_run.pk))
    does(page, "Pause")
    assert JobRun.objects.get(pk=office.moving_run.pk).is_paused
    does(page, "Resume")
    assert not JobRun.objects.get(pk=office.moving_run.pk).is_paused


def test_a_draft_is_edited_and_saved_with_the_themes_own_form(page: Any, theme: Theme) -> None:
    batch = draft(2, label="Before")
    page.goto(address(BATCHES, "change", batch.pk))
    page.fill("[name=label]", "After")
    theme.save(page)
    page.wait_for_load_state()
    batch.refresh_from_db()
    assert (batch.label, batch.state) == ("After", State.DRAFT)


def test_a_file_becomes_a_draft(page: Any, theme: Theme) -> None:
    BatchUpload.objects.all().delete()
    page.goto(address(BATCHES))
    link = page.get_by_role("link", name="New batch", exact=True)
    assert not link.evaluate(HIDDEN)
    link.click()
    table = {"name": "autumn.csv", "mimeType": "text/csv", "buffer": TABLES["autumn.csv"]}
    page.set_input_files("input[type=file]", table)
    page.fill("[name=prompt]", "Describe the {product}, which has {feature}.")
    page.fill("[name=model]", "claude-haiku-4-5")
    page.fill("[name=label]", "From a file")
    page.get_by_role("button", name="Check the file").click()
    see(page, "What the check found")
    page.get_by_role("button", name="Make it a draft").click()
    see(page, "Not sent. Costs nothing until submitted.")
    assert MessageBatch.objects.filter(label="From a file", state=State.DRAFT).exists()


@pytest.fixture
def no_run(office: Office) -> Iterator[None]:
    """Make the run of the job over during the test, because a second one would be refused."""
    running = JobRun.objects.filter(pk=office.moving_run.pk)
    before = running.values("state", "exclusive", "next_action_at", "finished_at")[0]
    over = {"state": RunState.FINISHED, "exclusive": None, "next_action_at": None, "finished_at": timezone.now()}
    running.update(**over)
    yield
    JobRun.objects.filter(label="In a theme").update(**over)
    running.update(**before)


def test_a_job_is_started(page: Any, no_run: None) -> None:
    page.goto(address(RUNS))
    link = page.get_by_role("link", name="Start a job", exact=True)
    assert not link.evaluate(HIDDEN)
    link.click()
    page.get_by_role("link", name="Start shop-review-tags").click()
    page.fill("[name=label]", "In a theme")
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/change/")
    assert JobRun.objects.filter(label="In a theme").exists()


def test_an_action_of_the_list(page: Any, theme: Theme) -> None:
    batch = draft(2, label="From the list")
    page.goto(address(BATCHES, q="From the list"))
    page.check("#result_list input[name=_selected_action], input[name=_selected_action]")
    theme.run_action(page, "submit")
    page.wait_for_selector(".dcb-confirmation")
    page.locator(".submit-row").get_by_role("button", name="Submit to Claude").click()
    see(page, "is queued")
    batch.refresh_from_db()
    assert batch.state == State.QUEUED


@pytest.mark.parametrize(("title", "choice"), [("state", "Complete"), ("needs attention", "Yes"), ("kind", "catalog")])
def test_a_filter_of_the_list(page: Any, office: Office, theme: Theme, title: str, choice: str) -> None:
    page.goto(address(BATCHES))
    before = page.locator("[name=_selected_action]").count()
    theme.filter_by(page, title, choice)
    page.wait_for_url("**?**")
    assert 0 < page.locator("[name=_selected_action]").count() < before


def test_the_search_of_the_list(page: Any, office: Office) -> None:
    page.goto(address(BATCHES))
    page.fill("[name=q]", "autumn catalog")
    page.press("[name=q]", "Enter")
    page.wait_for_url("**q=autumn*")
    shown = page.content()
    assert "autumn catalog" in shown
    assert "Support tickets, week 47" not in shown


def test_results_are_exported(page: Any, office: Office) -> None:
    page.goto(address(BATCHES, "change", office.newsletter.pk))
    page.get_by_role("link", name="Export results").click()
    page.check("input[name=format][value=csv]")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert "made to last" in Path(download.value.path()).read_text()


def test_the_links_between_a_batchs_lists(page: Any, office: Office) -> None:
    page.goto(address(RESULTS, batch=office.catalog.pk))
    page.locator(".dcb-tools").get_by_role("link", name="Requests").click()
    page.wait_for_url(f"**{address(REQUESTS)}**")
    page.locator(".dcb-tools").get_by_role("link", name=f"Batch #{office.catalog.pk}").click()
    page.wait_for_url(f"**/{office.catalog.pk}/change/")


def test_the_card_refreshes_itself(console: Console, office: Office, page: Any) -> None:
    batch = draft(2, label="Live")
    services.submit(batch)
    page.goto(address(BATCHES, "change", batch.pk))
    see(page, "Waiting to be sent")
    services.advance(batch)
    see_within = page.locator("[data-dcb-part=card]").get_by_text("Running at Anthropic")
    see_within.wait_for(timeout=12_000)
    page.locator("[data-dcb-stale]").wait_for()


def test_a_draft_is_submitted_by_the_keyboard_alone(page: Any) -> None:
    batch = draft(2, label="By keyboard")
    page.goto(address(BATCHES, "change", batch.pk))
    for where in (".dcb-tools", ".dcb-confirmation"):
        page.wait_for_selector(where)
        tab_to(page, "Submit to Claude", within=120)
        page.keyboard.press("Enter")
        page.wait_for_load_state()
    page.wait_for_url("**/change/")
    batch.refresh_from_db()
    assert batch.state == State.QUEUED


@pytest.mark.parametrize("form", FORMS)
def test_what_is_ours_is_readable_and_not_too_wide(console: Console, office: Office, theme: Theme, form: str) -> None:
    viewport = FORMS[form]["viewport"]
    how = FORMS[form] | {"viewport": viewport | {"width": max(viewport["width"], theme.narrowest)}}
    page, _watch = console.log_in(office.ada, **how)
    for name in ("batches", "batch-complete", "batch-draft", "run-finished", "confirm-submit", "jobs", "export"):
        PAGES[name](page, office)
        page.wait_for_load_state("load")
        assert page.evaluate(TOO_WIDE) == [], name
        assert page.evaluate(CUT) == [], name
        assert grave_violations(page, RULES, OURS) == [], name
    page.context.close()
