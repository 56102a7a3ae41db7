"""Every action of runs in every state and with every permission, in a table written by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import filterfalse
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client, override_settings

from django_claude_batches.models import DeliveryChunk, DeliveryMode, FailedDelivery, JobRun, MessageBatch, RunState
from django_claude_batches.models.delivery import failure_columns
from django_claude_batches.services.runs.drive import drive
from tests.admin.admin_pages import RUNS, page, run_in, said, url
from tests.admin.conftest import Staff
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Row:
    """A row of the table. `standings` has a sign for each of STANDINGS, in their order; `+` means legal."""

    permission: str
    standings: str
    rule: str
    answers: dict[str, Any] = field(default_factory=dict)


# The states, and runs that are paused, have a stopped delivery, or failed rows and failed deliveries; and "unasked":
# paused while being drafted.
STANDINGS = {
    "drafting": "is still being drafted",
    "running": "is running",
    "paused": "is paused already",
    "stuck": "",
    "troubled": "",
    "canceling": "is already being canceled",
    "finished": "is finished",
    "canceled": "was canceled",
    "unasked": "is paused already",
}
TABLE = {
    # name                permission          d r p s t c f C u
    "pause": Row("pause_jobrun", "++.+++...", "Only runs that are not over and not paused"),
    "resume": Row("pause_jobrun", "..++....+", "Only runs that are paused, or whose delivery"),
    "resume_without": Row("pause_jobrun", "........+", "Only runs that are paused while they are drafted"),
    "cancel": Row("cancel_jobrun", "+++++...+", "Only runs that are drafted or running can be canceled"),
    "retry": Row("retry_jobrun", "....+....", "Only runs that are drafted, were not", {"outcomes": ["errored"]}),
    "redeliver_failed": Row("redeliver_jobrun", "....+....", "Only runs with rows that raised an error"),
}
# Refusals that differ from STANDINGS.
WHY = {
    ("resume", "drafting"): "is not paused",
    ("resume", "running"): "is not paused",
    ("resume", "troubled"): "is not paused",
    ("resume", "canceling"): "is not paused",
    ("resume_without", "drafting"): "is not paused",
    ("resume_without", "paused"): "is running",
    ("resume_without", "stuck"): "is running",
    ("resume_without", "troubled"): "is running",
    ("retry", "unasked"): "is still being drafted",
    ("retry", "running"): "has no failed row",
    ("retry", "paused"): "has no failed row",
    ("retry", "stuck"): "has no failed row",
    ("retry", "finished"): "has no failed row",
    **{("redeliver_failed", standing): "has no failed delivery" for standing in STANDINGS},
}
PERMISSIONS = sorted({row.permission for row in TABLE.values()} | {"start_jobrun", "cancel_messagebatch"})


def is_for(action: str, standing: str) -> bool:
    return TABLE[action].standings[list(STANDINGS).index(standing)] == "+"


def everything() -> tuple[Any, ...]:
    """Return all rows that an action may write."""
    models = (JobRun, MessageBatch, DeliveryChunk, FailedDelivery)
    return (*(list(model.objects.order_by("pk").values()) for model in models), LogEntry.objects.count())


def on_list(client: Client, action: str, run: JobRun) -> Any:
    data = {"action": action, "_selected_action": [run.pk], "confirmed": "yes", **TABLE[action].answers}
    return client.post(url(RUNS), data)


def has_happened(action: str, run: JobRun) -> bool:
    run.refresh_from_db()
    match action:
        case "pause":
            return run.is_paused and run.pause_reason == "Paused by grace."
        case "resume":
            waiting = DeliveryChunk.objects.filter(batch__run=run, next_action_at__isnull=True, done_at__isnull=True)
            return not run.is_paused and not waiting.exists()
        case "resume_without":
            return not run.is_paused and run.skip_unaskable
        case "cancel":
            return run.state == RunState.CANCELING
        case "retry":
            return [len(chunk.to_retry) for chunk in DeliveryChunk.objects.to_follow_up().filter(batch__run=run)] == [1]
        case _:
            return DeliveryChunk.objects.filter(batch__run=run, mode=DeliveryMode.FAILED).count() == 1


@pytest.mark.parametrize("action", slow_but(3, TABLE))
def test_what_is_legal_happens_once(staff: Staff, action: str) -> None:
    row, client = TABLE[action], staff("view_jobrun", TABLE[action].permission)
    for standing in filter(lambda standing: is_for(action, standing), STANDINGS):
        run = run_in(standing)
        done = on_list(client, action, run)
        assert (done.status_code, "skipped" in said(done)[-1]) == (302, False), (standing, said(done))
        assert has_happened(action, run), standing
        assert LogEntry.objects.filter(object_id=str(run.pk), user__username="grace").count() == 1, standing
        before = JobRun.objects.values().get(pk=run.pk), DeliveryChunk.objects.count(), MessageBatch.objects.count()
        again = on_list(client, action, run)  # a second click, or the same form sent by hand
        after = JobRun.objects.values().get(pk=run.pk), DeliveryChunk.objects.count(), MessageBatch.objects.count()
        assert after == before, standing
        # Deliveries stay failed until a worker redelivers them: the action reports success again, and does nothing.
        if action != "redeliver_failed":
            assert said(again)[-1].startswith(f"1 skipped: {run} "), standing
            assert row.rule in said(again)[-1], standing


@pytest.mark.parametrize("action", slow_but(3, TABLE))
def test_what_is_illegal_says_why_and_changes_nothing(staff: Staff, action: str) -> None:
    client = staff("view_jobrun", TABLE[action].permission)
    for standing in filterfalse(lambda standing: is_for(action, standing), STANDINGS):
        run = run_in(standing)
        before = everything()
        response = on_list(client, action, run)
        why = WHY.get((action, standing), STANDINGS[standing])
        assert said(response)[-1].startswith(f"1 skipped: {run} {why}. {TABLE[action].rule}"), standing
        assert everything() == before, standing


@pytest.mark.parametrize("action", slow_but(3, TABLE))
def test_no_permission_but_its_own_is_enough(staff: Staff, action: str) -> None:
    """Each other permission with the one to view, by POSTs that no page offers to that user."""
    run = run_in(next(standing for standing in STANDINGS if is_for(action, standing)))
    before = everything()
    for permission in [*PERMISSIONS, "view_jobrun"]:
        if permission != TABLE[action].permission:
            client = staff(*{"view_jobrun", permission}, username=permission)
            assert on_list(client, action, run).status_code == 403, permission
            assert everything() == before, permission


@pytest.mark.parametrize("standing", slow_but(1, STANDINGS))
def test_each_permission_offers_its_own_actions_where_they_are_legal(staff: Staff, standing: str) -> None:
    run = run_in(standing)
    for permission in PERMISSIONS:
        client = staff("view_jobrun", permission, username=permission)
        on_row, on_list = page(client, url(RUNS, "change", run.pk)), page(client, url(RUNS))
        own = {action for action, row in TABLE.items() if row.permission == permission}
        assert {action for action in TABLE if f'value="{action}"' in on_list} == own, permission
        legal = {action for action in own if is_for(action, standing)}
        assert {action for action in TABLE if f'value="{action}"' in on_row} == legal, permission


@pytest.mark.parametrize("action", slow_but(2, TABLE))
def test_each_action_has_a_confirmation_page(staff: Staff, action: str) -> None:
    run = run_in(next(standing for standing in STANDINGS if is_for(action, standing)))
    client = staff("view_jobrun", TABLE[action].permission)
    before = everything()
    shown = client.post(url(RUNS), {"action": action, "_selected_action": [run.pk]}).content.decode()
    assert 'name="confirmed"' in shown
    assert "1 run of tag-reviews" in shown
    assert everything() == before


def test_retry_asks_which_and_says_how_many_and_what_it_may_cost(root: Client) -> None:
    run = run_in("troubled")
    DeliveryChunk.objects.update(**failure_columns([[0, "truncated"], [1, "errored"], [2, "errored"]]))
    data = {"action": "retry", "_selected_action": [run.pk]}
    shown = root.post(url(RUNS), data).content.decode()
    assert "errored (2)" in shown
    assert "cut off (1)" in shown
    assert "Estimate for all of them: " in shown
    nothing = root.post(url(RUNS), {**data, "confirmed": "yes"}).content.decode()
    assert "choose which rows to retry" in nothing
    unknown = root.post(url(RUNS), {**data, "confirmed": "yes", "outcomes": ["sideways"]}).content.decode()
    assert "not one of the available choices" in unknown
    assert run.batches.count() == 1


def test_a_large_retry_is_typed_in(root: Client) -> None:
    run = run_in("troubled")
    data = {"action": "retry", "_selected_action": [run.pk], "confirmed": "yes", "outcomes": ["errored"]}
    with override_settings(CLAUDE_BATCHES={"KICK": False, "CONFIRM_ABOVE_REQUESTS": 0}):
        refused = root.post(url(RUNS), {**data, "requests": "2"}).content.decode()
        assert "Nothing was done: type 1, the number of requests, to confirm." in refused
        assert run.batches.count() == 1
        assert DeliveryChunk.objects.to_follow_up().count() == 0
        assert root.post(url(RUNS), {**data, "requests": "1"}).status_code == 302
    drive(run.pk)
    assert run.batches.count() == 2


def test_a_job_whose_code_is_gone_is_said(root: Client) -> None:
    run = run_in("troubled")
    JobRun.objects.filter(pk=run.pk).update(job="gone-away")
    response = on_list(root, "retry", run)
    assert 'No job is named "gone-away" here' in said(response)[-1]
    assert run.batches.count() == 1


def test_those_that_are_skipped_are_said_beside_those_that_are_done(root: Client) -> None:
    runs = [run_in("running"), run_in("finished")]
    data = {"action": "pause", "_selected_action": [run.pk for run in runs], "confirmed": "yes"}
    done, skipped = said(root.post(url(RUNS), data))
    assert done == "1 run is paused."
    assert skipped.startswith(f"1 skipped: {runs[1]} is finished.")
