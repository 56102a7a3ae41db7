"""Requests are counted as they are drafted, for the estimate of their cost."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import astuple
from decimal import Decimal
from typing import Any

import pytest

from django_claude_batches import conf, services
from django_claude_batches.estimates import ExpectedUsage
from django_claude_batches.models import BatchRequest, MessageBatch, State
from django_claude_batches.pricing import bundled
from django_claude_batches.services import cost_confirmation
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, in_state, item, running

pytestmark = [pytest.mark.django_db, pytest.mark.database]


BODY = {"messages": item(0)["params"]["messages"]}


def drafted(*params: Any) -> MessageBatch:
    batch = MessageBatch.objects.create_draft([{"params": {**BODY, **each}} for each in params])
    return MessageBatch.objects.get(pk=batch.pk)


def counted(batch: MessageBatch) -> list[tuple[Any, ...]]:
    batch.refresh_from_db()
    assert batch.expected_usage is not None
    return sorted(astuple(kind) for kind in ExpectedUsage(batch.expected_usage).kinds)


def sizes(batch: MessageBatch) -> list[int]:
    return list(batch.requests.order_by("position").values_list("params_bytes", flat=True))


def test_requests_are_counted_by_model_place_and_size() -> None:
    batch = drafted(
        {"model": "claude-opus-5", "max_tokens": 10, "system": "x" * 900},
        {"model": "claude-opus-5", "max_tokens": 20, "system": "é" * 451},
        {"model": "claude-opus-5", "max_tokens": 30, "system": "x" * 9000},
        {"model": "claude-opus-5", "max_tokens": 40, "inference_geo": "us"},
        {"model": "claude-opus-5", "max_tokens": 50, "inference_geo": "global"},
        OrderedDict({"model": "claude-haiku-4-5", "max_tokens": 60}),
    )
    first, second, large, in_us, elsewhere, own = sizes(batch)
    assert counted(batch) == [
        ("claude-haiku-4-5", "", 7, 1, own, 60),
        ("claude-opus-5", "", 7, 1, elsewhere, 50),
        ("claude-opus-5", "", 10, 2, first + second, 30),
        ("claude-opus-5", "", 14, 1, large, 30),
        ("claude-opus-5", "us", 7, 1, in_us, 40),
    ]


@pytest.mark.parametrize("max_tokens", [1_000_001, 10**50])
def test_what_the_api_refuses_for_its_max_tokens_is_not_counted(max_tokens: Any) -> None:
    batch = drafted({"model": "claude-opus-5", "max_tokens": max_tokens})
    assert counted(batch) == []
    assert batch.estimate(bundled()).cents == (0, 0)
    assert batch.estimate(bundled()).warnings == (
        "claude-opus-5 refuses max_tokens above 300,000 (1 request, the first is 0)",
    )


def test_refused_parameters_are_counted_by_kind_and_the_first_request_is_named() -> None:
    hot = {"model": "claude-opus-5", "max_tokens": 5, "temperature": 1}
    cold = {"model": "claude-haiku-4-5", "max_tokens": 5}
    batch = drafted(cold, hot, {**hot, "model": "claude-opus-5-20260401", "top_p": 1}, {**hot, "model": "mine"})
    refuses = "claude-opus-5 refuses "
    assert batch.estimate(bundled()).warnings == (
        f"{refuses}temperature (2 requests, the first is 1)",
        f"{refuses}top_p (1 request, the first is 2)",
    )
    request = batch.requests.get(position=1)
    request.params = {**cold, **BODY}
    request.save()
    batch.refresh_from_db()
    assert batch.estimate(bundled()).warnings == (
        f"{refuses}temperature (1 request)",
        f"{refuses}top_p (1 request, the first is 2)",
    )
    request.params = {**hot, **BODY, "thinking": {"type": "enabled"}}
    request.save()
    batch.refresh_from_db()
    assert batch.estimate(bundled()).warnings[0] == f"{refuses}temperature (2 requests)"
    assert (
        f"{refuses}thinking of type enabled: use adaptive (1 request, the first is 1)"
        in batch.estimate(bundled()).warnings
    )


def test_the_size_of_warnings_does_not_grow_with_the_rows() -> None:
    hot = {**BODY, "model": "claude-opus-5-5", "max_tokens": 5, "temperature": 1, "top_p": 1, "top_k": 1}
    batch = MessageBatch.objects.create_draft({"params": {**hot, "seed": n}} for n in range(3000))
    stored = json.dumps(batch.expected_usage)
    assert len(stored) < 1000
    assert stored.count("3000") >= 3


def test_a_beta_allows_more_tokens() -> None:
    long = [{"params": {**BODY, "model": "claude-opus-5", "max_tokens": 200_000}}]
    batch = MessageBatch.objects.create_draft(long, betas=["output-300k-2026-03-24"])
    assert batch.estimate(bundled()).warnings == ()
    assert len(MessageBatch.objects.create_draft(long).estimate(bundled()).warnings) == 1


def test_edited_betas_apply_to_an_existing_draft() -> None:
    beta, model = ["output-300k-2026-03-24"], {"model": "claude-opus-5-5"}
    batch = drafted({**model, "max_tokens": 200_000}, {**model, "max_tokens": 200_000})
    both = "claude-opus-5-5 refuses max_tokens above 128,000 (2 requests, the first is 0)"
    assert shown(batch) == [both]
    assert shown(batch, betas=beta) == []
    assert shown(batch, betas=[]) == [both]
    for betas, position in ((beta, 0), ([], 1)):
        batch.betas = betas
        batch.save()
        request = BatchRequest.objects.get(batch=batch, position=position)
        request.params = {**request.params, "max_tokens": 100}
        request.save()
    assert (shown(batch), shown(batch, betas=beta)) == ([], [])
    batch = MessageBatch.objects.create_draft(
        [{"params": {**BODY, **model, "max_tokens": most}} for most in (200_000, 300_001)], betas=beta
    )
    above_all = "claude-opus-5-5 refuses max_tokens above 300,000 (1 request, the first is 1)"
    assert shown(batch) == [above_all]
    assert shown(batch, betas=[]) == [both.replace("2 requests", "1 request"), above_all]


def shown(batch: MessageBatch, betas: list[str] | None = None) -> list[str]:
    """Return the refusals that the batch's page, a submission, `doctor` and `show` name, which have to agree."""
    if betas is not None:
        batch.betas = betas
        batch.save()
    batch = MessageBatch.objects.get(pk=batch.pk)
    found = batch.estimate(bundled()).refusals
    several = cost_confirmation.estimate([batch]).refusals
    told = [one.words for one in services.diagnose(offline=True) if one.name == "models" and "above" in one.words]
    assert [one.requests for one in several] == [one.requests for one in found]
    assert told == sorted(f"{one}." for one in several)
    return sorted(map(str, found))


def test_an_estimate_uses_the_given_prices(settings: Any) -> None:
    batch = drafted({"model": "mine", "max_tokens": 1_000_000})
    assert batch.estimate(conf.prices()).unknown_models == ("mine",)
    settings.CLAUDE_BATCHES = {"PRICES": {"mine": {"input": 0, "output": 10}}}
    found = batch.estimate(conf.prices())
    # 1 * 10 / 1e6 / 2, and 1e6 * 10 / 1e6 / 2
    assert (found.low, found.high, found.as_of) == (Decimal("0.000005"), Decimal(5), bundled().as_of)


def test_the_estimate_of_an_adopted_batch_is_not_known() -> None:
    batch = in_state(State.IN_PROGRESS, expected_usage=None)
    found = batch.estimate(bundled())
    assert (found.low, found.high, found.unknown_models) == (None, None, ())


def test_a_retry_has_its_own_estimate(claude: ClaudeEmulator) -> None:
    batch = running(2)
    services.cancel(batch)
    services.advance(batch)
    claude.finish()
    services.advance(batch)
    assert batch.state == State.INGESTED
    child = services.retry(batch, outcomes=["canceled"])
    assert counted(child) == counted(batch) == [("claude-haiku-4-5", "", 7, 2, sum(sizes(batch)), 128)]
    larger = services.retry(batch, outcomes=["canceled"], max_tokens=4096)
    assert counted(larger) == [("claude-haiku-4-5", "", 7, 2, sum(sizes(larger)), 8192)]


def test_a_changed_request_is_counted_again() -> None:
    batch = draft(2)
    kept, changed = batch.requests.order_by("position")
    changed.params = {**BODY, "model": "claude-opus-5", "max_tokens": 7, "inference_geo": "us"}
    changed.save()
    assert counted(batch) == [
        ("claude-haiku-4-5", "", 7, 1, kept.params_bytes, 64),
        ("claude-opus-5", "us", 7, 1, changed.params_bytes, 7),
    ]
    changed = BatchRequest.objects.get(pk=changed.pk)
    changed.params = item(1)["params"]
    changed.save()
    assert counted(batch) == counted(draft(2))


def test_the_cost_is_within_the_estimate(claude: ClaudeEmulator) -> None:
    batch = running(3)
    claude.finish()
    services.advance(batch)
    found = batch.estimate(conf.prices())
    assert batch.cost_usd is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low <= batch.cost_usd <= found.high


def test_warnings_of_several_batches_are_added_up() -> None:
    hot = {"model": "claude-opus-5", "max_tokens": 5, "temperature": 1}
    first, second = drafted(hot, hot), drafted({**hot, "top_k": 1})
    assert set(cost_confirmation.estimate([first, second]).warnings) == {
        f"claude-opus-5 refuses temperature (3 requests, the first is 0 of batch #{first.pk})",
        f"claude-opus-5 refuses top_k (1 request, the first is 0 of batch #{second.pk})",
    }


def test_a_retry_has_the_same_warnings(claude: ClaudeEmulator) -> None:
    batch = services.submit(drafted({"model": "claude-opus-5", "max_tokens": 5, "top_k": 1}))
    services.advance(batch)
    services.advance(services.cancel(batch))
    claude.finish()
    services.advance(batch)
    child = services.retry(batch, outcomes=["canceled"])
    assert child.estimate(bundled()).warnings == ("claude-opus-5 refuses top_k (1 request, the first is 0)",)
