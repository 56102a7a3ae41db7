"""On PostgreSQL, indexes answer the queries of every page over large tables, as the query plans show."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_claude_batches.models import AccountState, BatchRequest, BatchResult, MessageBatch, State, UsageRollup
from tests.admin.admin_pages import BATCHES, REQUESTS, RESULTS, in_state, page, url
from tests.harness.factories import draft

LARGE = (BatchRequest._meta.db_table, BatchResult._meta.db_table)
ROWS = 2_000
BATCHES_BESIDE = 200
ROWS_BESIDE = 400
MOST_QUERIES = 10

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def large(root: Client, ticking: AccountState) -> MessageBatch:
    """A batch of 2,000 results with errors of three kinds, and 80,000 results of other batches.

    The ratio is that of 25,000 results in a million.
    """
    if connection.vendor != "postgresql":
        pytest.skip("EXPLAIN (FORMAT JSON) is PostgreSQL's")
    batch = draft(1, label="large", kind="plans")
    beside = {"processing_count": 0, "succeeded_count": ROWS_BESIDE - 4, "errored_count": 4}
    others = [in_state(draft(1), State.INGESTED, **beside) for _ in range(BATCHES_BESIDE)]
    _fill(batch.pk, ROWS)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {LARGE[0]} (batch_id, position, custom_id, model, params, params_bytes) "
            f"SELECT b.id, n, 'x-' || n, 'm', repeat('x', 300), 300 FROM {MessageBatch._meta.db_table} b, "
            "generate_series(1, %s) n WHERE b.id = ANY(%s)",
            [ROWS_BESIDE - 1, [other.pk for other in others]],
        )
        _answer(cursor, [other.pk for other in others])
        cursor.execute("ANALYZE")
    counts: dict[str, Any] = {"processing_count": 0, "succeeded_count": ROWS - 20, "errored_count": 20}
    summary = UsageRollup.objects.sum_up(batch.pk)
    counts |= {"error_groups": summary.error_groups, "result_counts": summary.result_counts}
    return in_state(batch, State.INGESTED, request_count=ROWS, **counts)


def _fill(batch_id: int, rows: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {LARGE[0]} (batch_id, position, custom_id, model, params, params_bytes) "
            "SELECT %s, n, 'r-' || n, 'm', repeat('x', 300), 300 FROM generate_series(1, %s) n",
            [batch_id, rows - 1],
        )
        _answer(cursor, [batch_id])


def _answer(cursor: Any, batch_ids: list[int]) -> None:
    """Create a result for each request. Of a hundred, one errored, one was cut off, one was in another service tier."""
    cursor.execute(
        f"INSERT INTO {LARGE[1]} (batch_id, request_id, custom_id, result_type, message, stop_reason, model, "
        "service_tier, inference_geo, error_type, error_message, error_request_id) SELECT batch_id, id, custom_id, "
        "CASE position %% 100 WHEN 7 THEN 'errored' ELSE 'succeeded' END, to_json(repeat('x', 300)), "
        "CASE position %% 100 WHEN 7 THEN '' WHEN 8 THEN 'max_tokens' ELSE 'end_turn' END, 'm', "
        "CASE position %% 100 WHEN 7 THEN '' WHEN 9 THEN 'standard' ELSE 'batch' END, '', "
        "CASE position %% 100 WHEN 7 THEN 'kind_' || position %% 3 ELSE '' END, '', '' "
        f"FROM {LARGE[0]} WHERE batch_id = ANY(%s)",
        [batch_ids],
    )


def plans(
    client: Client, address: str, *, most: int = MOST_QUERIES, **query: Any
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Open the page, and yield each of its queries over the large tables with its plan."""
    page(client, address, **query)  # fill the caches
    with CaptureQueriesContext(connection) as captured:
        page(client, address, **query)
    assert len(captured) <= most, [entry["sql"] for entry in captured]
    for entry in captured:
        if any(table in entry["sql"] for table in LARGE):
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + entry["sql"].replace("%", "%%"), [])
                (found,) = cursor.fetchone()
            plan = found if isinstance(found, list) else json.loads(found)
            yield entry["sql"], plan[0]["Plan"]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def is_over_large(plan: dict[str, Any]) -> bool:
    return any(node.get("Relation Name") in LARGE for node in nodes(plan))


def complaints(plan: dict[str, Any]) -> list[str]:
    """Return the nodes that read a whole large table, or sort or join more rows than the batch has."""
    found = []
    for node in nodes(plan):
        kind = node["Node Type"]
        if kind == "Seq Scan" and node.get("Relation Name") in LARGE:
            found.append(f"Seq Scan on {node['Relation Name']}")
        if re.search("Sort|Hash$|Materialize", kind) and is_over_large(node) and node["Actual Rows"] > ROWS:
            found.append(f"{kind} of {node['Actual Rows']} rows")
    return found


PAGES: list[tuple[str, dict[str, Any]]] = [
    (RESULTS, {}),
    (RESULTS, {"q": "r-1999"}),
    (RESULTS, {"q": "absent"}),
    (RESULTS, {"batch": "large"}),
    (RESULTS, {"batch": "large", "q": "r-777"}),
    (RESULTS, {"batch": "large", "q": "absent"}),
    (RESULTS, {"batch": "large", "q": "r"}),
    *((RESULTS, {"batch": "large", "outcome": name}) for name in ("succeeded", "errored", "canceled", "expired")),
    *(
        (RESULTS, {"batch": "large", "outcome": name})
        for name in ("truncated", "refused", "unfinished", "invalid_output")
    ),
    (RESULTS, {"batch": "large", "error_type": "kind_1"}),
    (RESULTS, {"batch": "large", "tier": "of_another_tier"}),
    (RESULTS, {"batch": "large", "tier": "of_unknown_cost"}),
    (RESULTS, {"batch": "large", "p": "20"}),
    *((RESULTS, {"outcome": name}) for name in ("usable", "succeeded", "errored", "expired")),
    *((RESULTS, {"outcome": name}) for name in ("truncated", "refused", "unfinished", "invalid_output")),
    (RESULTS, {"error_type": "kind_1"}),
    (RESULTS, {"tier": "of_another_tier"}),
    (RESULTS, {"tier": "of_unknown_cost"}),
    (REQUESTS, {}),
    (REQUESTS, {"q": "r-1999"}),
    (REQUESTS, {"q": "absent"}),
    (REQUESTS, {"batch": "large"}),
    (REQUESTS, {"batch": "large", "q": "r-777"}),
    (REQUESTS, {"batch": "large", "q": "absent"}),
    (REQUESTS, {"batch": "large", "outcome": "missing"}),
    (BATCHES, {}),
    (BATCHES, {"q": "r-1999"}),
    (BATCHES, {"q": "absent"}),
]


def test_each_list_is_answered_by_indexes(root: Client, large: MessageBatch) -> None:
    wrong = {}
    for model, query in PAGES:
        named = {name: large.pk if value == "large" else value for name, value in query.items()}
        for sql, plan in plans(root, url(model), **named):
            if found := complaints(plan):
                wrong[f"{model} {query}"] = (found, sql[-400:])
    assert not wrong, "\n".join(map(str, wrong.items()))


def test_the_page_of_a_large_batch_is_answered_by_indexes(root: Client, large: MessageBatch) -> None:
    [(sql, plan)] = plans(root, url(BATCHES, "change", large.pk))
    assert '"asked"' in sql, "a few results with their prompts; the kinds of error were counted before"
    assert not complaints(plan)


def test_words_are_searched_page_by_page_by_an_index(root: Client, large: MessageBatch) -> None:
    query = {"batch": large.pk, "q": "absent", "in": "answers"}
    for _sql, plan in plans(root, url(RESULTS), most=MOST_QUERIES + 5, **query):
        assert not complaints(plan)
        assert max(node["Actual Rows"] for node in nodes(plan)) <= ROWS


def test_the_page_of_a_result_is_answered_by_indexes(root: Client, large: MessageBatch) -> None:
    result = large.results.get(custom_id="r-777")
    for filters in ("", f"batch={large.pk}&outcome=truncated", f"batch={large.pk}&outcome=refused"):
        for _sql, plan in plans(root, url(RESULTS, "change", result.pk), _changelist_filters=filters):
            assert not complaints(plan)


def test_while_results_come_the_kinds_of_error_are_counted_by_an_index(root: Client, large: MessageBatch) -> None:
    in_state(large, State.ENDED, ingested_at=None)
    found = list(plans(root, url(RESULTS), batch=large.pk))
    assert not [complaints(plan) for _sql, plan in found if complaints(plan)]
    (errors,) = [plan for sql, plan in found if "GROUP BY" in sql]
    assert max(node["Actual Rows"] for node in nodes(errors)) <= 20  # the errors, and no other row


@pytest.mark.parametrize("model", [RESULTS, REQUESTS])
def test_the_beginning_of_a_custom_id_is_a_range_of_the_index(root: Client, large: MessageBatch, model: str) -> None:
    conditions = [
        str(node.get("Index Cond", ""))
        for _sql, plan in plans(root, url(model), batch=large.pk, q="r-777")
        for node in nodes(plan)
    ]
    ranges = [condition for condition in conditions if "'r-777'" in condition and "'r-778'" in condition]
    assert len(ranges) == 2, conditions  # what is counted, and what is shown
