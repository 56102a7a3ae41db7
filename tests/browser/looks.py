"""The pages, and the forms (sizes and color schemes) in which they are tested."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.urls import reverse

from django_claude_batches.models import BatchUpload
from tests.browser.console import address
from tests.browser.office import Office

WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 360, "height": 740}

# Options of a browser context.
FORMS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": WIDE},
    "dark": {"color_scheme": "dark", "viewport": WIDE},
    "narrow": {"color_scheme": "light", "viewport": NARROW},
}

BATCHES, RESULTS, REQUESTS, ACCOUNTS = "messagebatch", "batchresult", "batchrequest", "accountstate"
RUNS = "jobrun"
USAGE = "usagerollup"
EXPORT = "admin:django_claude_batches_batchresult_export"


def _goto(find: Callable[[Office], str]) -> Callable[[Any, Office], object]:
    return lambda page, office: page.goto(find(office))


def _batch(name: str) -> Callable[[Any, Office], object]:
    return _goto(lambda office: address(BATCHES, "change", getattr(office, name).pk))


def _run(name: str) -> Callable[[Any, Office], object]:
    return _goto(lambda office: address(RUNS, "change", getattr(office, name).pk))


def _confirm_retry_run(page: Any, office: Office) -> None:
    page.goto(address(RUNS, "change", office.run.pk))
    page.get_by_role("button", name="Retry failed rows").click()
    page.wait_for_selector(".dcb-confirmation")


def _confirm(name: str, verb: str) -> Callable[[Any, Office], object]:
    """Press this button of the batch, and stay on the page that asks for confirmation."""

    def open_page(page: Any, office: Office) -> None:
        page.goto(address(BATCHES, "change", getattr(office, name).pk))
        page.get_by_role("button", name=verb).click()
        page.wait_for_selector(".dcb-confirmation")

    return open_page


def _new_batch(page: Any, office: Office) -> None:
    BatchUpload.objects.all().delete()
    page.goto(address(BATCHES, "add"))


def _upload(name: str) -> Callable[[Any, Office], object]:
    """Upload this file in *New batch*, and stay on the page with the result of its check."""

    def open_page(page: Any, office: Office) -> None:
        _new_batch(page, office)
        page.set_input_files("input[type=file]", {"name": name, "mimeType": "text/csv", "buffer": TABLES[name]})
        page.fill("[name=prompt]", PROMPT)
        page.fill("[name=model]", "claude-haiku-4-5")
        page.click("text=Check the file")
        page.wait_for_load_state()

    return open_page


# A valid file, and one with two bad rows.
TABLES = {
    "autumn.csv": b"product,feature\nMerino crew,double-knit cuffs\nRain shell,taped seams\nBeanie,no seams\n",
    "winter.csv": b"product,feature\nDown vest,a zip pocket\nWool socks,a gusseted toe,gray\nCanvas tote\n",
}
PROMPT = "Describe the {product}, which has {feature}."

# Each is a function that opens a page in a Playwright page.
PAGES: dict[str, Callable[[Any, Office], object]] = {
    "batches": _goto(lambda office: address(BATCHES)),
    "batch-complete": _batch("catalog"),
    "batch-running": _batch("running"),
    "batch-unconfirmed": _batch("unconfirmed"),
    "batch-refused": _batch("refused"),
    "batch-canceled": _batch("week_46"),
    "batch-draft": _batch("draft"),
    "confirm-submit": _confirm("draft", "Submit to Claude"),
    "confirm-retry": _confirm("catalog", "Retry failed rows"),
    "new-batch": _new_batch,
    "upload": _upload("autumn.csv"),
    "upload-bad": _upload("winter.csv"),
    "results": _goto(lambda office: address(RESULTS, batch=office.catalog.pk)),
    "results-errored": _goto(lambda office: address(RESULTS, batch=office.catalog.pk, outcome="errored")),
    "result": _goto(lambda office: address(RESULTS, "change", office.catalog.results.succeeded()[0].pk)),
    "result-errored": _goto(lambda office: address(RESULTS, "change", office.catalog.results.errored()[0].pk)),
    "export": _goto(lambda office: reverse(EXPORT, args=[office.catalog.pk])),
    "requests": _goto(lambda office: address(REQUESTS, batch=office.catalog.pk)),
    "request": _goto(lambda office: address(REQUESTS, "change", office.catalog.requests.first().pk)),
    "accounts": _goto(lambda office: address(ACCOUNTS)),
    "usage": _goto(lambda office: address(USAGE, by="job")),
    "runs": _goto(lambda office: address(RUNS)),
    "run-finished": _run("run"),
    "run-running": _run("moving_run"),
    "run-paused": _run("paused_run"),
    "confirm-retry-run": _confirm_retry_run,
    "jobs": _goto(lambda office: address(RUNS, "jobs")),
    "start-job": _goto(lambda office: address(RUNS, "start", "shop-review-tags")),
    "start-job-bad": _goto(lambda office: address(RUNS, "start", "shop-book-summaries")),
    "batch-of-run": _goto(lambda office: address(BATCHES, "change", office.run.batches.order_by("pk")[0].pk)),
    "delete": _goto(lambda office: address(BATCHES, "delete", office.draft.pk)),
}


def pictures_in_docs() -> set[str]:
    """Return the names of the pictures of our pages that README.md and the pages of docs show."""
    root = Path(__file__).resolve().parents[2]
    texts = [path.read_text() for path in (root / "README.md", *(root / "docs").rglob("*.md"))]
    return {name for text in texts for name in re.findall(r"screenshots/([\w-]+\.png)\)", text)}
