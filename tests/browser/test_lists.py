"""All columns of each list are visible on a screen of 1280 pixels, beside the sidebar and the filters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches.models import BatchRequest, MessageBatch, State
from tests.browser.console import Console, address
from tests.browser.looks import ACCOUNTS, BATCHES, REQUESTS, RESULTS, RUNS, USAGE
from tests.browser.office import Office
from tests.harness.factories import item

pytestmark = pytest.mark.browser

WIDTHS = (1280, 1440)

# Elements that extend beyond their box: the box would scroll, without a visible hint.
HIDDEN = """() => {
  const found = [];
  for (const table of document.querySelectorAll("#result_list, .dcb-scroll > table")) {
    const box = table.parentElement.getBoundingClientRect();
    const right = Math.min(box.right, window.innerWidth) + 1;
    for (const cell of table.querySelectorAll("th, td"))
      if (cell.getBoundingClientRect().right > right) found.push(`${cell.className} ${cell.innerText.slice(0, 40)}`);
  }
  return found;
}"""

LISTS: dict[str, Callable[[Office], str]] = {
    "batches": lambda office: address(BATCHES),
    "batches-attention": lambda office: address(BATCHES, attention="yes"),
    "batches-complete": lambda office: address(BATCHES, state__exact="ingested"),
    "batches-of-run": lambda office: address(BATCHES, run=office.run.pk),
    "runs": lambda office: address(RUNS),
    "runs-attention": lambda office: address(RUNS, attention="yes"),
    "requests": lambda office: address(REQUESTS),
    "requests-of-batch": lambda office: address(REQUESTS, batch=office.catalog.pk),
    "requests-of-run": lambda office: address(REQUESTS, batch=office.run.batches.order_by("pk")[0].pk),
    "requests-hostile": lambda office: address(REQUESTS, batch=MessageBatch.objects.get(label__startswith="Long").pk),
    "results": lambda office: address(RESULTS),
    "results-of-batch": lambda office: address(RESULTS, batch=office.catalog.pk),
    "results-errored": lambda office: address(RESULTS, batch=office.catalog.pk, outcome="errored"),
    "results-of-run": lambda office: address(RESULTS, batch=office.run.batches.order_by("pk")[0].pk),
    "accounts": lambda office: address(ACCOUNTS),
    "usage": lambda office: address(USAGE, by="job"),
}


@pytest.fixture(scope="module")
def crowded(office: Office) -> Office:
    """The office with a batch whose texts have the maximum length, and a second account."""
    requests = ({**item(number), "custom_id": "x" * 48 + f"-{number}"} for number in range(3))
    label = f"Long {'label' * 38}"
    batch = MessageBatch.objects.create_draft(requests, label=label, kind="k" * 100, account="a" * 64)
    BatchRequest.objects.filter(batch=batch).update(model="m" * 100, params_bytes=12_345_678)
    now = timezone.now()
    counts = [
        {"result_type": kind, "stop_reason": reason, "count": 99_999}
        for kind, reason in (
            *(("succeeded", reason) for reason in ("end_turn", "max_tokens", "refusal", "pause_turn")),
            *((kind, "") for kind in ("errored", "expired", "canceled", "new")),
        )
    ]
    MessageBatch.objects.filter(pk=batch.pk).update(
        state=State.INGESTED,
        anthropic_id="msgbatch_long",
        created_at=now,
        processing_status="ended",
        queued_at=now,
        ingested_at=now,
        announced_at=now,
        result_counts=counts,
        missing_count=99_999,
        cost_usd=Decimal("123456.789"),
        last_error=f"LookupError: {'e' * 400}",
    )
    return office


@pytest.fixture(scope="module")
def pages(console: Console, crowded: Office) -> Iterator[dict[int, Any]]:
    yield (opened := {w: console.log_in(crowded.ada, viewport={"width": w, "height": 900})[0] for w in WIDTHS})
    for page in opened.values():
        page.context.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", LISTS)
def test_no_column_of_a_list_is_out_of_sight(pages: dict[int, Any], crowded: Office, name: str, width: int) -> None:
    page = pages[width]
    page.goto(LISTS[name](crowded))
    assert page.locator("#nav-sidebar").is_visible()
    assert page.locator("#result_list tbody tr, .dcb-scroll tbody tr").count() > 0
    assert page.evaluate(HIDDEN) == []
