"""What each model's results and the batch cost, written when the results are all there."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from django_claude_batches import services
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator
from django_claude_batches.testing.emulator.replies import Reply
from tests.harness.factories import item

pytestmark = [pytest.mark.django_db, pytest.mark.database]

USAGE = {"input_tokens": 1000, "output_tokens": 200, "cache_read_input_tokens": 500, "inference_geo": "not_available"}


def answered(
    models: list[str],
    usages: list[dict[str, Any]] | None = None,
    *,
    only_first: dict[str, Any] | None = None,
    **reply: Any,
) -> MessageBatch:
    """Let a batch with these models live; `reply` is how each is answered, `only_first` how the first one is."""

    def replies(params: dict[str, Any], custom_id: str, *, index: int) -> Reply:
        made = {"usage": USAGE if usages is None else usages[index], **reply}
        if only_first and index == 0:
            made = {**made, **only_first}
        return Reply("Yes.", **made)

    with ClaudeEmulator(replies=replies) as claude:
        requests = [item(number, model=model) for number, model in enumerate(models)]
        batch = services.advance(services.submit(MessageBatch.objects.create_draft(requests)))
        claude.finish()
        services.advance(batch)
    assert batch.state == State.INGESTED, batch.last_error
    return batch


def test_sums_are_by_model_and_for_the_batch() -> None:
    batch = answered(["claude-opus-4-6", "claude-opus-4-6", "claude-sonnet-4-6", "no-such-model"])
    # (1,000 * 5 + 200 * 25 + 500 * 0.50) / 1e6 / 2, and (1,000 * 3 + 200 * 15 + 500 * 0.30) / 1e6 / 2
    opus, sonnet = Decimal("0.005125"), Decimal("0.003075")
    assert dict(batch.usage.values_list("model", "cost_usd")) == {
        "claude-opus-4-6": 2 * opus,
        "claude-sonnet-4-6": sonnet,
    }
    assert batch.cost_usd == 2 * opus + sonnet
    said = batch.events.get(what="ingested").text
    assert said == "4 results; $0.01 by the prices of 2026-11-22"


def test_each_prompt_has_the_rates_of_its_own_size_and_each_answer_those_of_its_place() -> None:
    usages = [
        {"input_tokens": 100_000, "output_tokens": 10},
        {"input_tokens": 100_001, "output_tokens": 10},
        {"input_tokens": 60_000, "output_tokens": 10},
        {"input_tokens": 100_000, "output_tokens": 10, "inference_geo": "us"},
        {"input_tokens": 1, "output_tokens": 1, "server_tool_use": {"web_search_requests": 2}},
    ]
    batch = answered(["claude-haiku-4-5"] * 5, usages, extra={"model": "claude-haiku-5-5"})
    each = [
        Decimal("0.0050025"),  # (100,000 * 0.10 + 10 * 0.50) / 1e6 / 2
        Decimal("0.02501275"),  # (100,001 * 0.50 + 10 * 2.50) / 1e6 / 2
        Decimal("0.0030025"),  # (60,000 * 0.10 + 10 * 0.50) / 1e6 / 2
        Decimal("0.00550275"),  # that of the first, * 1.1
        Decimal("0.0200003"),  # 2 * 0.01 + (1 * 0.10 + 1 * 0.50) / 1e6 / 2
    ]
    usage = batch.usage.get()
    assert (usage.results, usage.input_tokens, usage.output_tokens) == (5, 360_002, 41)
    assert usage.web_search_requests == 2
    assert batch.cost_usd == usage.cost_usd == sum(each)


@pytest.mark.parametrize(
    "reply", [{"extra": {"model": "claude-brand-new"}}, {"usage": {"input_tokens": None}}], ids=["model", "tokens"]
)
def test_what_is_not_known_makes_the_sum_unknown_and_not_less(reply: dict[str, Any]) -> None:
    batch = answered(["claude-opus-4-6", "claude-sonnet-4-6"], None, only_first=reply)
    assert sum(batch.usage.values_list("unpriced_results", flat=True)) == 1
    assert batch.cost_usd is None
    assert batch.events.get(what="ingested").text == "2 results; cost not known by the prices of 2026-11-22"


def test_the_page_of_the_batch_says_what_it_cost(admin_client: Client) -> None:
    known = answered(["claude-opus-4-6"])
    page = admin_client.get(f"/admin/django_claude_batches/messagebatch/{known.pk}/change/").content.decode()
    assert '<td class="dcb-number"><span title="0.005125 USD">&lt;\xa0$0.01</span></td>' in page
    assert '<dt>Cost</dt><dd><span title="0.005125 USD by the prices of Nov. 22, 2026">&lt;\xa0$0.01</span>' in page
    assert "by the prices of 2026-11-22" in page
    unknown = answered(["claude-opus-4-6"], extra={"model": "claude-brand-new"})
    page = admin_client.get(f"/admin/django_claude_batches/messagebatch/{unknown.pk}/change/").content.decode()
    assert '<td class="dcb-number">not known</td>' in page
    assert "<dt>Cost</dt><dd>not known: a model without a price" in page


def test_prices_of_yours_count(settings: Any) -> None:
    settings.CLAUDE_BATCHES = {**settings.CLAUDE_BATCHES, "PRICES": {"claude-brand-new": {"input": 2, "output": 10}}}
    batch = answered(["claude-opus-4-6"], extra={"model": "claude-brand-new"})
    # (1,000 * 2 + 200 * 10 + 500 * 0.2) / 1e6 / 2
    assert batch.cost_usd == batch.usage.get().cost_usd == Decimal("0.00205")


HAIKU = {"input_tokens": 1000, "output_tokens": 100}  # (1,000 * 1 + 100 * 5) / 1e6 / 2 = 0.00075
COMPACTION = {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500}
MILLION_WRITTEN = {**HAIKU, "cache_creation_input_tokens": 1_000_000}


def by_lifetime(**counts: Any) -> dict[str, Any]:
    return {**MILLION_WRITTEN, "cache_creation": counts}


COSTS: dict[str, tuple[dict[str, Any], str | None]] = {
    # (181,000 * 1 + 3,600 * 5) / 1e6 / 2
    "a compaction alone": ({**HAIKU, "iterations": [COMPACTION]}, "0.0995"),
    "a compaction beside messages": ({**HAIKU, "iterations": [COMPACTION, {"type": "message", **HAIKU}]}, "0.0995"),
    "messages that come to the top": (
        {**HAIKU, "iterations": [{"type": "message", "input_tokens": 500, "output_tokens": 50}] * 2},
        "0.00075",
    ),
    # 0.0995 and (10,000 * 1.25 + 20,000 * 2 + 30,000 * 0.10) / 1e6 / 2
    "a compaction through the cache": (
        {
            **HAIKU,
            "iterations": [
                {
                    **COMPACTION,
                    "cache_creation_input_tokens": 30_000,
                    "cache_read_input_tokens": 30_000,
                    "cache_creation": {"ephemeral_5m_input_tokens": 10_000, "ephemeral_1h_input_tokens": 20_000},
                }
            ],
        },
        "0.12725",
    ),
    "no iterations": ({**HAIKU, "iterations": []}, "0.00075"),
    "messages that come to more": ({**HAIKU, "iterations": [{"type": "message", **HAIKU}] * 2}, None),
    "an iteration of another model": ({**HAIKU, "iterations": [{**COMPACTION, "model": "claude-opus-5"}]}, None),
    "an advisor": ({**HAIKU, "iterations": [{**COMPACTION, "type": "advisor_message"}]}, None),
    "an iteration without counts": ({**HAIKU, "iterations": [{"type": "compaction"}]}, None),
    "iterations that are none": ({**HAIKU, "iterations": {"type": "compaction"}}, None),
    # 0.00075 + 1,000,000 * 1.25 / 1e6 / 2
    "written, without lifetimes": ({**MILLION_WRITTEN, "cache_creation": None}, "0.62575"),
    "written for an hour": (by_lifetime(ephemeral_1h_input_tokens=1_000_000), "1.00075"),
    "written for both": (
        by_lifetime(ephemeral_5m_input_tokens=400_000, ephemeral_1h_input_tokens=600_000),
        "0.85075",
    ),
    "a lifetime that nobody knows, unused": (
        by_lifetime(ephemeral_5m_input_tokens=1_000_000, ephemeral_24h_input_tokens=0),
        "0.62575",
    ),
    "no lifetime": (by_lifetime(), None),
    "zeros": (by_lifetime(ephemeral_5m_input_tokens=0, ephemeral_1h_input_tokens=0), None),
    "a part": (by_lifetime(ephemeral_5m_input_tokens=400_000), None),
    "more than all": (by_lifetime(ephemeral_5m_input_tokens=1_000_001), None),
    "a lifetime that nobody knows": (by_lifetime(ephemeral_24h_input_tokens=1_000_000), None),
    "a list of lifetimes": ({**MILLION_WRITTEN, "cache_creation": []}, None),
    "a count that is none": ({**HAIKU, "cache_read_input_tokens": "7"}, None),
    "more thought than put out": ({**HAIKU, "output_tokens_details": {"thinking_tokens": 101}}, None),
    "thought and put out": ({**HAIKU, "output_tokens_details": {"thinking_tokens": 100}}, "0.00075"),
    "a speed that batches have not": ({**HAIKU, "speed": "fast"}, None),
}


def test_each_usage_has_the_cost_that_it_tells_or_none() -> None:
    batch = answered(["claude-haiku-4-5"] * len(COSTS), [usage for usage, _cost in COSTS.values()])
    costs = [result.cost_usd for result in batch.results.in_request_order()]
    expected = [None if cost is None else Decimal(cost) for _usage, cost in COSTS.values()]
    assert dict(zip(COSTS, costs, strict=True)) == dict(zip(COSTS, expected, strict=True))
    assert batch.results.of_unknown_cost().count() == expected.count(None)
    usage = batch.usage.get()
    assert (batch.cost_usd, usage.unpriced_results) == (None, expected.count(None))
    assert usage.cost_usd == sum(cost for cost in expected if cost is not None)


def test_the_columns_have_what_is_billed() -> None:
    result = answered(["claude-haiku-4-5"], [{**HAIKU, "iterations": [COMPACTION]}]).results.get()
    assert (result.input_tokens, result.output_tokens) == (181_000, 3_600)


def test_a_compaction_that_may_decide_the_band_has_no_known_cost() -> None:
    small = {"type": "compaction", "input_tokens": 90_000, "output_tokens": 0}
    usages = [{**HAIKU, "iterations": [small]}, {**HAIKU, "iterations": [small] * 2}]
    batch = answered(["claude-haiku-4-5"] * 2, usages, extra={"model": "claude-haiku-5-5"})
    # (91,000 * 0.10 + 100 * 0.50) / 1e6 / 2: 91,000 are below the threshold however they are counted.
    assert dict(batch.results.values_list("custom_id", "cost_usd")) == {"r-0": Decimal("0.004575"), "r-1": None}


def test_what_has_no_known_cost_is_found_by_a_filter(admin_client: Client) -> None:
    batch = answered(["claude-haiku-4-5"] * 2, [HAIKU, by_lifetime()])
    address = "/admin/django_claude_batches/batchresult/"
    listed: Any = admin_client.get(address, {"batch": batch.pk, "tier": "of_unknown_cost"})
    assert [row.custom_id for row in listed.context["cl"].result_list] == ["r-1"]
    assert "Cost not known" in listed.content.decode()


def test_what_failed_costs_nothing() -> None:
    batch = answered(["no-such-model"])
    assert (batch.results.errored().get().cost_usd, batch.cost_usd, batch.usage.count()) == (0, 0, 0)


def test_each_result_has_its_cost_and_what_has_no_discount_is_flagged() -> None:
    usages = [USAGE, {**USAGE, "service_tier": "standard"}, {**USAGE, "service_tier": "batch"}]
    batch = answered(["claude-opus-4-6", "claude-opus-4-6", "claude-opus-4-6"], usages)
    costs = dict(batch.results.values_list("custom_id", "cost_usd"))
    assert costs == {"r-0": Decimal("0.005125"), "r-1": None, "r-2": Decimal("0.005125")}
    assert [result.custom_id for result in batch.results.of_another_tier()] == ["r-1"]
    usage = batch.usage.get()
    assert (usage.results, usage.other_tier_results, usage.unpriced_results, batch.cost_usd) == (3, 1, 1, None)
    assert usage.cost_usd == 2 * Decimal("0.005125")
    said = batch.events.get(what="ingested").text
    assert said == "3 results; cost not known (1 not of the service tier batch) by the prices of 2026-11-22"


def test_the_timeline_says_the_sum_that_is_stored() -> None:
    batch = answered(["claude-haiku-4-5"] * 33, [{"input_tokens": 0, "output_tokens": 1}] * 33)
    assert batch.cost_usd == Decimal("0.0000825")  # 33 * 5 / 1e6 / 2: as floats, in SQLite, 0.0000825000000000001
    assert batch.events.get(what="ingested").text == "33 results; < $0.01 by the prices of 2026-11-22"
