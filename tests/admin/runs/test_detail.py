"""The page of a run: content, permissions, and number of queries; and the run on the page of a batch."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from django.utils.html import escape

from django_claude_batches.models import (
    AccountState,
    BatchResult,
    DeliveryChunk,
    FailedDelivery,
    JobRun,
    MessageBatch,
    RunState,
    State,
    UsageRollup,
)
from django_claude_batches.models.delivery import CHUNK_REQUESTS, failure_columns
from django_claude_batches.testing import ClaudeEmulator, Failure
from tests.admin.admin_pages import BATCHES, HOSTILE, REQUESTS, RESULTS, RUNS, in_state, page, park, run_in, said, url
from tests.admin.conftest import Staff
from tests.harness.factories import draft
from tests.harness.library.models import Review
from tests.harness.shop import SCHEMA, job, over, reviews

pytestmark = pytest.mark.django_db

# Runs, and batches of the last run.
SOME, MANY = (200, 100), (10_000, 3_000)


def run_of(batch: MessageBatch, **changes: Any) -> JobRun:
    facts = {"state": RunState.RUNNING, "next_action_at": timezone.now(), "row_count": batch.request_count}
    run = JobRun.objects.create(job="tag-reviews", **{**facts, **changes})
    MessageBatch.objects.filter(pk=batch.pk).update(run=run, run_attempt=1, kind="tag-reviews")
    batch.refresh_from_db()
    return run


@pytest.mark.slow
def test_the_page_of_a_run_from_draft_to_delivery(root: Client) -> None:
    rows = reviews(6)
    broken, bad = str(rows[1].pk), str(rows[2].pk)

    def on_result(self: Any, review: Review, result: Any) -> None:
        if str(review.pk) == broken:
            raise LookupError(f"no {HOSTILE}")

    def answer(params: dict[str, Any], custom_id: str) -> Any:
        return Failure("invalid_request_error", "no such image") if custom_id == str(bad) else '{"tags": []}'

    run = job(on_result=on_result, output_schema=SCHEMA).start(label=f"nightly {HOSTILE}")
    assert "Being drafted" in page(root, url(RUNS, "change", run.pk))
    with ClaudeEmulator(replies=answer) as claude:
        over(run, claude)
    shown = page(root, url(RUNS, "change", run.pk))
    batch = run.batches.get()
    assert escape("4 delivered, 1 errored, 1 raised an error in the job's code") in shown
    assert f'href="{url(RESULTS)}?batch={batch.pk}&amp;error_type=invalid_request_error"' in shown
    assert f'href="{url(BATCHES, "change", batch.pk)}"' in shown
    assert escape(f"LookupError: no {HOSTILE}") in shown
    assert "in on_result" in shown
    assert "by the prices of" in shown
    assert HOSTILE not in shown
    listed = page(root, url(RUNS), q="nightly")
    assert escape("4 delivered, 1 errored, 1 raised an error in the job's code") in listed
    assert HOSTILE not in listed
    found = page(root, url(BATCHES), run=run.pk)
    assert f'href="{url(BATCHES, "change", batch.pk)}' in found


def test_each_attempt_is_there_with_what_it_retries(root: Client) -> None:
    run = run_in("troubled")
    first = run.batches.get()
    second = draft(1, parent=first)
    MessageBatch.objects.filter(pk=second.pk).update(run=run, run_attempt=2)
    UsageRollup.objects.create(batch=first, model="m", results=2, input_tokens=1000, output_tokens=30)
    in_state(first, State.INGESTED, cost_usd=Decimal("1.5"), prices_as_of=date(2026, 11, 1))
    in_state(second, State.INGESTED, cost_usd=Decimal("0.25"), prices_as_of=date(2026, 11, 22))
    UsageRollup.objects.create(batch=second, model="m", results=1, input_tokens=500, output_tokens=12)
    shown = page(root, url(RUNS, "change", run.pk))
    for batch in (first, second):
        assert f'<a href="{url(BATCHES, "change", batch.pk)}">#{batch.pk}</a>' in shown
    assert "4 in 2 attempts" in shown
    assert "1,500 in, 42 out" in shown
    assert "$1.75</span> (prices of Nov. 1, 2026 to Nov. 22, 2026)" in shown
    in_state(second, State.INGESTED, cost_usd=None)
    assert "not known: a batch of this run has no known cost" in page(root, url(RUNS, "change", run.pk))


def test_failures_are_grouped_by_outcome_and_kind(root: Client) -> None:
    run = run_in("troubled")
    batch = run.batches.get()
    MessageBatch.objects.filter(pk=batch.pk).update(error_groups=[{"error_type": "api_error", "count": 1}])
    DeliveryChunk.objects.update(outcomes={"succeeded": 5, "errored": 1, "invalid_output": 2, "missing": 3, "odd": 4})
    shown = page(root, url(RUNS, "change", run.pk))
    for name in ("Invalid output", "Missing", "Odd", "api_error"):
        assert name in shown
    for query in ("outcome=invalid_output", "outcome=missing", "error_type=api_error"):
        assert f"?batch={batch.pk}&amp;{query}" in shown


def test_a_count_over_several_batches_leads_to_their_rows(root: Client) -> None:
    run = run_in("troubled")
    second = draft(3, kind="tag-reviews")
    MessageBatch.objects.filter(pk=second.pk).update(run=run, run_attempt=1)
    in_state(second, State.INGESTED, delivered_at=timezone.now(), errored_count=1, succeeded_count=2)
    chunk = {"position": 3, "last_position": 2, "delivered_count": 1, "failed_count": 2, "done_at": timezone.now()}
    failed = {"errored": 1, "missing": 1}
    DeliveryChunk.objects.create(batch=second, **chunk, failed_outcomes=failed, outcomes={"succeeded": 1, **failed})
    shown = page(root, url(RUNS, "change", run.pk))
    for name in ("errored", "usable"):
        assert f'href="{url(RESULTS)}?run={run.pk}&amp;outcome={name}"' in shown
    assert f'href="{url(REQUESTS)}?batch={second.pk}&amp;outcome=missing"' in shown


@pytest.mark.database
def test_equal_errors_of_a_job_are_one_line_with_their_number(root: Client, staff: Staff) -> None:
    run = run_in("troubled")
    FailedDelivery.objects.all().delete()
    batch = draft(30, kind="tag-reviews")
    MessageBatch.objects.filter(pk=batch.pk).update(run=run, run_attempt=1)
    for position in range(16):
        park(batch, position)
    for position in range(16, 28):
        park(batch, position, error=f"KeyError: {position}")
    shown = page(root, url(RUNS, "change", run.pk))
    assert "28 rows raised an error" in shown
    assert shown.count("<h3>") == 10
    assert "<h3>16 rows <span" in shown
    assert shown.index("no such tag") < shown.index("KeyError: 16")
    assert "and 3 other errors" in shown
    # For users who may not read answers, errors that differ only in their message are one group.
    assert "<h3>12 rows <span" in page(staff("view_jobrun"), url(RUNS, "change", run.pk))


def test_of_many_failed_deliveries_the_first_thousand_are_counted(root: Client) -> None:
    run = run_in("troubled")
    batch = draft(1_005, kind="tag-reviews")
    MessageBatch.objects.filter(pk=batch.pk).update(run=run, run_attempt=1)
    failed = [
        FailedDelivery(batch=batch, request=request, position=request.position, error="OSError: full")
        for request in batch.requests.all()
    ]
    FailedDelivery.objects.bulk_create(failed)
    shown = page(root, url(RUNS, "change", run.pk))
    assert "1006 rows raised an error" in shown
    assert "<h3>999 rows <span" in shown
    assert "counted among the first 1000 rows" in shown


def test_tracebacks_are_for_those_who_may_read_prompts_and_answers(staff: Staff) -> None:
    run = run_in("running")
    park(run.batches.get(), 1, error="LookupError", traceback="File of the shop, at line 3")
    JobRun.objects.update(last_error="on_finished raised Traceback (most recent call last):\n  x\nOSError: secret\n")
    viewer = staff("view_jobrun", "view_messagebatch")
    shown = page(viewer, url(RUNS, "change", run.pk))
    assert "1 row raised an error in the job's code" in shown
    assert "LookupError" in shown
    assert "on_finished raised" in shown
    for hidden in ("at line 3", "secret", url(RESULTS)):
        assert hidden not in shown
    for number, one in enumerate(("view_batchresult", "view_batchrequest")):
        shown = page(staff("view_jobrun", one, username=f"half {number}"), url(RUNS, "change", run.pk))
        assert "secret" not in shown, one
    reader = staff("view_jobrun", "view_batchresult", "view_batchrequest", username="ida")
    shown = page(reader, url(RUNS, "change", run.pk))
    assert "at line 3" in shown
    assert "on_finished raised: OSError: secret" in shown
    assert url(BATCHES) not in shown


def test_why_it_is_paused_is_said(root: Client) -> None:
    run = run_in("running")
    why = "library.Review 5: Traceback (most recent call last):\n  here\nLookupError: no\n\nFix it, and resume the run."
    JobRun.objects.filter(pk=run.pk).update(paused_at=timezone.now(), pause_reason=why)
    shown = page(root, url(RUNS, "change", run.pk))
    assert "library.Review 5: LookupError: no" in shown
    assert "Fix it, and resume the run." in shown
    assert ">Paused<" in shown
    assert "refresh.js" not in shown


@pytest.mark.parametrize("state", RunState)
def test_a_run_that_moves_names_its_card_and_the_script(root: Client, state: RunState) -> None:
    run = run_in(str(state))
    moves = run.is_active
    address = url(RUNS, "card", run.pk)
    shown = page(root, url(RUNS, "change", run.pk))
    assert ("django_claude_batches/refresh.js" in shown) == moves
    card = page(root, address)
    assert (f'data-dcb-url="{address}"' in card) == (f'data-dcb-url="{address}"' in shown) == moves
    assert 'data-dcb-part="rows"' in card
    assert "<html" not in card


def test_the_pages_are_for_those_who_may_view_runs(staff: Staff) -> None:
    run = run_in("running")
    client = staff("view_messagebatch", "view_batchresult", "start_jobrun", "cancel_jobrun")
    for address in (url(RUNS), *(url(RUNS, name, run.pk) for name in ("change", "card", "history", "delete"))):
        assert client.get(address).status_code == 403
    viewer = staff("view_jobrun", username="ida")
    for address in (url(RUNS), url(RUNS, "change", run.pk), url(RUNS, "card", run.pk), url(RUNS, "history", run.pk)):
        page(viewer, address)
    assert viewer.get(url(RUNS, "delete", run.pk)).status_code == 403
    assert viewer.get(url(RUNS, "card", 10**9)).status_code == 404


def test_runs_are_found_and_filtered(root: Client) -> None:
    wanted = {standing: run_in(standing) for standing in ("paused", "stuck", "troubled", "running", "finished")}
    JobRun.objects.filter(pk=wanted["running"].pk).update(label="Weekly tags")

    def found(**query: Any) -> set[str]:
        rows = root.get(url(RUNS), query).context["cl"].result_list
        return {name for name, run in wanted.items() if run in rows}

    assert found(attention="yes") == {"paused", "stuck", "troubled"}
    assert found(state__exact="finished") == {"finished"}
    assert found(job="tag-reviews") == set(wanted)
    assert found(job="another") == set()
    assert found(q="weekly") == {"running"}
    assert found(q="tag-reviews") == set(wanted)
    assert found(q=f"#{wanted['stuck'].pk}") == {"stuck"}
    assert found(q="absent") == set()


@pytest.fixture
def many(ticking: AccountState, request: pytest.FixtureRequest) -> JobRun:
    """The last of many runs, with many batches, each with a delivery chunk and usage."""
    runs, batch_count = request.param
    JobRun.objects.bulk_create(JobRun(job="tag-reviews", state=RunState.FINISHED) for _ in range(runs))
    run = JobRun.objects.create(
        job="tag-reviews", state=RunState.RUNNING, next_action_at=timezone.now(), row_count=batch_count * CHUNK_REQUESTS
    )
    now = timezone.now()
    batches = MessageBatch.objects.bulk_create(
        MessageBatch(
            run=run,
            run_attempt=1 + number % 3,
            request_count=CHUNK_REQUESTS,
            state=State.INGESTED,
            anthropic_id=f"msgbatch_{number}",
            created_at=now,
            queued_at=now,
            ingested_at=now,
            announced_at=now,
            processing_status="ended",
            succeeded_count=CHUNK_REQUESTS,
            error_groups=[{"error_type": f"kind_{number % 30}", "count": 3}],
        )
        for number in range(batch_count)
    )
    outcomes = {"succeeded": CHUNK_REQUESTS - 3, "errored": 3}
    chunk = {"position": CHUNK_REQUESTS, "last_position": CHUNK_REQUESTS - 1, "done_at": now, "outcomes": outcomes}
    chunk |= failure_columns([[position, "errored"] for position in range(3)])
    DeliveryChunk.objects.bulk_create(
        DeliveryChunk(batch=batch, delivered_count=CHUNK_REQUESTS - 3, **chunk) for batch in batches
    )
    UsageRollup.objects.bulk_create(UsageRollup(batch=batch, model="m", results=CHUNK_REQUESTS) for batch in batches)
    with_rows = draft(60)
    MessageBatch.objects.filter(pk=with_rows.pk).update(run=run, run_attempt=1)
    in_state(with_rows, State.INGESTED)
    for position in range(60):
        park(with_rows, position)
    return run


@pytest.mark.database
@pytest.mark.parametrize(
    "many", [SOME, pytest.param(MANY, marks=pytest.mark.slow)], indirect=True, ids=["some", "many"]
)
def test_pages_make_ten_queries_and_read_no_result(
    root: Client, staff: Staff, many: JobRun, django_assert_max_num_queries: Any
) -> None:
    viewer = staff("view_jobrun", "view_messagebatch", "view_batchresult", "view_batchrequest", "pause_jobrun")
    addresses = [url(RUNS, "change", many.pk), url(RUNS, "card", many.pk), url(RUNS), f"{url(RUNS)}?q=tags"]
    addresses += [f"{url(RUNS)}?attention=yes", f"{url(RUNS)}?state__exact=finished", f"{url(RUNS)}?p=2"]
    for client, address in ((client, address) for address in addresses for client in (root, viewer)):
        with django_assert_max_num_queries(10) as captured:
            page(client, address)
        results = connection.ops.quote_name(BatchResult._meta.db_table)
        over_results = [entry["sql"] for entry in captured if results in entry["sql"]]
        assert all("faileddelivery" in sql for sql in over_results), address  # of the few that are shown
    shown = page(root, url(RUNS, "change", many.pk))
    assert "60 rows raised an error in the job's code" in shown
    assert "<h3>60 rows <span" in shown
    assert f"{many.batches.count() - 50} more before them" in shown


def test_a_batch_names_its_run_its_attempt_and_the_progress_of_its_delivery(root: Client, staff: Staff) -> None:
    run = run_in("troubled")
    batch = run.batches.get()
    shown = page(root, url(BATCHES, "change", batch.pk))
    assert f'href="{url(RUNS, "change", run.pk)}"' in shown
    assert "for the first time" in shown
    assert "All of it, " in shown
    assert "<time datetime=" in shown
    problem = escape("raised in the job's code: LookupError: ")
    assert f'<strong>1</strong> <a href="{url(RUNS, "change", run.pk)}#dcb-parked">{problem}' in shown
    assert url(RUNS, "change", run.pk) not in page(staff("view_messagebatch"), url(BATCHES, "change", batch.pk))
    MessageBatch.objects.update(delivered_at=None, run_attempt=3)
    DeliveryChunk.objects.update(position=1, done_at=None, next_action_at=timezone.now())
    shown = page(root, url(BATCHES, "change", batch.pk))
    assert "again: attempt 3" in shown
    assert "1 of 3 requests" in shown
    assert "refresh.js" in shown


def test_a_batch_of_no_run_says_nothing_of_one(root: Client, ingested: MessageBatch) -> None:
    shown = page(root, url(BATCHES, "change", ingested.pk))
    assert "Delivered to its job" not in shown
    assert "Its rows are asked" not in shown


@pytest.mark.parametrize("codenames", [None, ("view_messagebatch", "view_batchresult", "view_batchrequest")])
def test_the_page_of_a_runs_batch_makes_ten_queries(
    root: Client,
    staff: Staff,
    ticking: AccountState,
    codenames: tuple[str, ...] | None,
    django_assert_max_num_queries: Any,
) -> None:
    batch = run_in("troubled").batches.get()
    client = root if codenames is None else staff("view_jobrun", *codenames)
    with django_assert_max_num_queries(10):
        page(client, url(BATCHES, "change", batch.pk))


def test_a_draft_that_is_being_filled_is_left_alone(root: Client) -> None:
    batch = draft(3, label="being filled")
    run = run_of(batch, state=RunState.DRAFTING)
    MessageBatch.objects.update(is_filling=True)
    shown = page(root, url(BATCHES, "change", batch.pk))
    assert "Until that is done it cannot be submitted, edited or deleted" in shown
    for offered in ('value="submit"', 'name="_save"', url(BATCHES, "delete", batch.pk)):
        assert offered not in shown
    assert root.post(url(BATCHES, "change", batch.pk), {"label": "other"}).status_code == 403
    assert root.post(url(BATCHES, "delete", batch.pk), {"post": "yes"}).status_code == 403
    for action in ("submit", "delete_selected"):
        data = {"action": action, "_selected_action": [batch.pk], "confirmed": "yes"}
        assert said(root.post(url(BATCHES), data))[-1].startswith(
            f"1 skipped: {MessageBatch.objects.get()} is still being drafted by its run."
        )
    batch.refresh_from_db()
    assert (batch.label, batch.state, batch.run) == ("being filled", State.DRAFT, run)


def test_what_a_batch_has_in_common_with_its_run_stays(root: Client) -> None:
    batch = draft(3, account="default")
    run_of(batch)
    shown = page(root, url(BATCHES, "change", batch.pk))
    assert 'name="label"' in shown
    assert 'name="kind"' not in shown
    root.post(url(BATCHES, "change", batch.pk), {"label": "mine", "kind": "stolen", "account": "other", "betas": ""})
    batch.refresh_from_db()
    assert (batch.label, batch.kind, batch.account) == ("mine", "tag-reviews", "default")


def test_an_answer_that_does_not_fit_its_schema_is_marked(root: Client, ingested: MessageBatch) -> None:
    result = ingested.results.succeeded().get()
    BatchResult.objects.filter(pk=result.pk).update(output={"tags": [HOSTILE]}, output_error=f"no {HOSTILE} in it")
    shown = page(root, url(RESULTS, "change", result.pk))
    assert escape(f"The answer does not fit its job's schema: no {HOSTILE} in it") in shown
    assert escape('"tags": [') in shown
    assert "invalid_output" in shown
    assert HOSTILE not in shown
    listed = root.get(url(RESULTS), {"batch": ingested.pk, "outcome": "invalid_output"})
    assert [row.pk for row in listed.context["cl"].result_list] == [result.pk]
    assert "invalid_output" in page(root, url(RESULTS), batch=ingested.pk)
    BatchResult.objects.filter(pk=result.pk).update(output_error=None)
    assert not root.get(url(RESULTS), {"batch": ingested.pk, "outcome": "invalid_output"}).context["cl"].result_list


@pytest.mark.parametrize("reason", ["pause_turn", ""])
def test_an_unfinished_answer_is_marked_and_found_by_a_filter(
    root: Client, ingested: MessageBatch, reason: str
) -> None:
    result = ingested.results.get(result_type="succeeded")
    ingested.results.filter(pk=result.pk).update(stop_reason=reason)
    said = f"The answer is not known to be finished. Its stop reason: {reason or '-'}."
    assert said in page(root, url(RESULTS, "change", result.pk))
    listed = root.get(url(RESULTS), {"batch": ingested.pk, "outcome": "unfinished"})
    assert [row.pk for row in listed.context["cl"].result_list] == [result.pk]
    assert said in listed.content.decode()
    ingested.results.filter(pk=result.pk).update(stop_reason="end_turn")
    assert not root.get(url(RESULTS), {"batch": ingested.pk, "outcome": "unfinished"}).context["cl"].result_list


def test_rows_that_were_left_out_are_named_and_why(root: Client) -> None:
    batch = draft(1, kind="tag-reviews")
    rows = [["library.Review 7", f"LookupError: {HOSTILE}"], ["library.Review 9", "no"]]
    run = run_of(batch, left_out_count=12, left_out_rows=rows)
    shown = page(root, url(RUNS, "change", run.pk))
    assert "12 rows were left out: they could not be asked" in shown
    assert escape(f"LookupError: {HOSTILE}") in shown
    assert "library.Review 9" in shown
    assert "and 10 more" in shown
    JobRun.objects.filter(pk=run.pk).update(state=RunState.FINISHED, next_action_at=None)
    over = page(root, url(RUNS, "change", run.pk))
    assert "12 rows were left out because they could not be asked." in over
