"""The primary button on the page of a batch or a run."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from django_claude_batches.models import JobRun, MessageBatch, RunState, State
from tests.admin.admin_pages import BATCHES, RUNS, in_state, page, run_in, url
from tests.admin.conftest import Staff

pytestmark = pytest.mark.django_db

BUTTON = re.compile(r'class="dcb-button( dcb-link)?" [^>]*>([^<]+)<')


def buttons(client: Client, batch: Any, model: str = BATCHES) -> tuple[list[str], list[str]]:
    """Return the labels of the primary buttons, and of the others."""
    found = BUTTON.findall(page(client, url(model, "change", batch.pk)))
    primary = [unescape(label) for is_other, label in found if not is_other]
    return primary, [unescape(label) for is_other, label in found if is_other]


@pytest.mark.parametrize(
    ("state", "columns", "step"),
    [
        (State.DRAFT, {}, ["Submit to Claude"]),
        (State.QUEUED, {}, []),
        (State.IN_PROGRESS, {}, []),
        (State.UNCERTAIN, {}, []),
        (State.REJECTED, {}, ["Submit to Claude"]),
        (State.ENDED, {}, []),
        (State.INGESTED, {"succeeded_count": 2}, ["Export results"]),
        (State.INGESTED, {"errored_count": 3}, ["Retry failed rows (3)"]),
    ],
)
def test_at_most_one_button_is_the_next_step(
    root: Client, batch: MessageBatch, state: State, columns: dict[str, Any], step: list[str]
) -> None:
    in_state(batch, state, **columns)
    primary, others = buttons(root, batch)
    assert primary == step
    assert not set(primary) & set(others)


@pytest.mark.parametrize(
    ("columns", "label"),
    [
        ({"succeeded_count": 3}, ""),
        ({"succeeded_count": 1, "errored_count": 1, "expired_count": 1, "missing_count": 1}, "Retry failed rows (3)"),
        ({"succeeded_count": 1, "canceled_count": 2}, "Retry rows (2)"),
        ({"succeeded_count": 3, "result_counts": ["max_tokens", "refusal", "end_turn"]}, "Retry rows (2)"),
    ],
)
def test_retry_is_offered_where_rows_can_be_asked_again_with_their_number(
    root: Client, batch: MessageBatch, columns: dict[str, Any], label: str
) -> None:
    """Canceled rows and unusable answers do not count as failed; the confirmation page asks which rows to retry."""
    if reasons := columns.get("result_counts"):
        groups = [{"result_type": "succeeded", "stop_reason": reason, "count": 1} for reason in reasons]
        columns = columns | {"result_counts": groups}
    in_state(batch, State.INGESTED, processing_count=0, **columns)
    _primary, others = buttons(root, batch)
    assert [other for other in others if other.startswith("Retry")] == [label][: len(label)]


def test_who_may_not_export_is_offered_nothing_as_the_next_step(staff: Staff, batch: MessageBatch) -> None:
    in_state(batch, State.INGESTED, succeeded_count=2)
    assert buttons(staff("view_messagebatch", "reingest_messagebatch"), batch) == ([], ["Fetch results again"])


@pytest.mark.parametrize(
    ("standing", "step"),
    [
        ("running", []),
        ("paused", ["Resume"]),
        ("stuck", ["Resume"]),
        ("troubled", []),
        ("over", ["Redeliver (1)"]),
        ("finished", []),
    ],
)
def test_the_next_step_of_a_run(root: Client, standing: str, step: list[str]) -> None:
    """The run "troubled" has a failed row and a failed delivery; "over" is the same run when it is finished."""
    run = run_in("troubled" if standing == "over" else standing)
    if standing == "over":
        over = {"state": RunState.FINISHED, "next_action_at": None, "finished_at": timezone.now()}
        JobRun.objects.filter(pk=run.pk).update(**over)
    primary, others = buttons(root, run, RUNS)
    assert primary == step
    assert ("Retry failed rows (1)" in others) == (standing in {"troubled", "over"})


def test_the_page_is_named_by_the_row_alone(root: Client, batch: MessageBatch) -> None:
    shown = page(root, url(BATCHES, "change", batch.pk))
    assert f"<h1>Batch {batch}</h1>" in unescape(shown)
    assert "<h2>#" not in shown
