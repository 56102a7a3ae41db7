"""Filters of the list of all results choose among the newest batches, by their counts."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from django_claude_batches.admin.results import newest_batches
from django_claude_batches.models import BatchResult, JobRun, MessageBatch, RunState, State, UsageRollup
from tests.admin.admin_pages import RESULTS, in_state, page, url
from tests.admin.conftest import Staff
from tests.admin.results.test_list import listed
from tests.harness.factories import draft

pytestmark = pytest.mark.django_db

KINDS: dict[str, dict[str, Any]] = {
    "usable": {"result_type": "succeeded", "stop_reason": "end_turn"},
    "truncated": {"result_type": "succeeded", "stop_reason": "max_tokens"},
    "refused": {"result_type": "succeeded", "stop_reason": "refusal"},
    "unfinished": {"result_type": "succeeded", "stop_reason": "pause_turn"},
    "errored": {"result_type": "errored", "error_type": "api_error"},
    "expired": {"result_type": "expired"},
    "canceled": {"result_type": "canceled"},
}


def batch_of(*kinds: str, **columns: Any) -> MessageBatch:
    """Create a complete batch with a result of each of these kinds, and the counts of its ingest."""
    batch = draft(len(kinds))
    for request, kind in zip(batch.requests.order_by("position"), kinds, strict=True):
        values = {"service_tier": "batch", "message": {}, **KINDS[kind], **columns}
        BatchResult.objects.create(batch=batch, request=request, custom_id=f"{batch.pk}-{kind}", **values)
    summary = UsageRollup.objects.sum_up(batch.pk)
    counts = {f"{name}_count": kinds.count(name) for name in ("errored", "expired", "canceled")}
    in_state(
        batch,
        State.INGESTED,
        result_counts=summary.result_counts,
        error_groups=summary.error_groups,
        succeeded_count=len(kinds) - sum(counts.values()),
        processing_count=0,
        **counts,
    )
    UsageRollup.objects.replace(batch, summary)
    return batch


@pytest.mark.database
@pytest.mark.parametrize("outcome", KINDS)
def test_all_results_are_filtered_by_outcome(root: Client, outcome: str) -> None:
    old, new, _other = batch_of(*KINDS), batch_of(outcome, outcome_beside(outcome)), batch_of(outcome_beside(outcome))
    assert listed(root, outcome=outcome) == [f"{new.pk}-{outcome}", f"{old.pk}-{outcome}"]


@pytest.mark.database
def test_the_results_of_a_run_are_those_of_its_batches(root: Client) -> None:
    first, second, _other = (batch_of("truncated", "usable") for _ in range(3))
    run = JobRun.objects.create(job="tag-reviews", state=RunState.FINISHED)
    MessageBatch.objects.filter(pk__in=[first.pk, second.pk]).update(run=run)
    assert len(listed(root, run=run.pk)) == 4
    assert listed(root, run=run.pk, outcome="truncated") == [f"{second.pk}-truncated", f"{first.pk}-truncated"]
    assert listed(root, run=run.pk + 1) == listed(root, run="x") == []


def outcome_beside(outcome: str) -> str:
    return "usable" if outcome != "usable" else "refused"


def test_answers_are_all_that_the_api_counts_as_succeeded(root: Client) -> None:
    batch_of(*KINDS)
    assert len(listed(root, outcome="succeeded")) == 4


def test_outputs_that_do_not_fit_are_found_before_they_are_counted_as_delivered(root: Client) -> None:
    batch = batch_of("usable")
    BatchResult.objects.filter(batch=batch).update(output_error="no")
    MessageBatch.objects.filter(pk=batch.pk).update(result_counts=None)
    assert listed(root, outcome="invalid_output") == [f"{batch.pk}-usable"]


@pytest.mark.database
def test_all_results_are_filtered_by_kind_of_error_and_price(root: Client) -> None:
    batch, other = batch_of("errored", "usable"), batch_of("usable", service_tier="standard")
    assert listed(root, error_type="api_error") == [f"{batch.pk}-errored"]
    assert listed(root, error_type="nonsense") == []
    assert "api_error (1)" in page(root, url(RESULTS))
    assert listed(root, tier="of_another_tier") == [f"{other.pk}-usable"]
    assert listed(root, outcome="usable", tier="of_another_tier") == [f"{other.pk}-usable"]
    assert f"{batch.pk}-usable" in listed(root, tier="of_unknown_cost")


def test_while_results_are_being_stored_their_batch_is_looked_into(root: Client) -> None:
    batch = batch_of("truncated")
    in_state(batch, State.ENDED, ingested_at=None, result_counts=None, error_groups=None)
    assert listed(root, outcome="truncated") == [f"{batch.pk}-truncated"]


def test_a_filter_and_a_search_are_both_obeyed(root: Client) -> None:
    batch_of("errored")
    batch = batch_of("errored")
    assert listed(root, outcome="errored", q=f"{batch.pk}-errored") == [f"{batch.pk}-errored"]


def test_filtering_all_results_takes_at_most_ten_queries(staff: Staff, django_assert_max_num_queries: Any) -> None:
    for _number in range(12):
        batch_of("errored", "usable", "truncated")
    client = staff("view_messagebatch", "view_batchresult", "view_batchrequest")
    page(client, url(RESULTS))
    for query in ({"outcome": "errored"}, {"outcome": "invalid_output"}, {"tier": "of_another_tier"}):
        with django_assert_max_num_queries(10):
            page(client, url(RESULTS), **query)


def newest() -> newest_batches.NewestBatches:
    request = RequestFactory().get("/")
    request.user = User.objects.get(username="ada")
    return admin.site.get_model_admin(BatchResult).newest_batches(request)  # type: ignore[attr-defined,no-any-return]


@pytest.mark.database
def test_only_so_much_is_read_where_no_index_has_the_few_results(root: Client) -> None:
    """On MariaDB, finding a few results means reading all of their batches."""
    batches = [batch_of("truncated") for _number in range(4)]
    MessageBatch.objects.update(succeeded_count=newest_batches.MAX_READ // 2)
    found = newest()
    chosen = found.with_outcome("truncated")
    if found.is_indexed:
        assert sorted(chosen) == [batch.pk for batch in batches]
        assert found.are_all
        assert "Filtered:" not in page(root, url(RESULTS), outcome="truncated")
    else:
        assert sorted(chosen) == [batch.pk for batch in batches[1:]]
        assert "Filtered: the results of the newest 3 batches." in page(root, url(RESULTS), outcome="truncated")
    assert len(newest().with_outcome("succeeded")) == 4
