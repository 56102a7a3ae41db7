"""A submission above a limit in the settings is confirmed by its number of requests, also in a POST made by hand."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from django_claude_batches.models import MessageBatch, State
from tests.admin.admin_pages import act, in_state, said
from tests.harness.factories import draft, item
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db

ASKS = 'name="requests"'


def queued() -> int:
    return MessageBatch.objects.filter(state=State.QUEUED).count()


def limits(settings: Any, usd: Any = None, requests: Any = None) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "CONFIRM_ABOVE_USD": usd, "CONFIRM_ABOVE_REQUESTS": requests}


def test_the_page_says_what_it_may_cost(root: Client, batch: MessageBatch) -> None:
    shown = act(root, "submit", batch, draft(2), confirmed=False).content.decode()
    assert "2 batches, 5 requests, account default." in shown
    assert "Estimate: at most $0.01 by the prices of " in shown
    assert ASKS not in shown


def test_no_estimate_is_said_too(root: Client, settings: Any) -> None:
    limits(settings)
    unknown = MessageBatch.objects.create_draft([item(1, model="claude-unheard-of")])
    shown = act(root, "submit", unknown, draft(1), confirmed=False).content.decode()
    assert "Estimate: not known: no price for model &quot;claude-unheard-of&quot; on " in shown
    assert ASKS not in shown


@pytest.mark.parametrize(
    ("usd", "requests", "asks"),
    slow_but(
        2,
        [
            (None, 5, False),
            (None, 4, True),
            (None, 0, True),
            (1, None, False),
            ("0.00001", None, True),
            (0, None, True),
            (None, None, False),
            ("0.00001", 1000, True),
        ],
    ),
)
def test_above_a_limit_the_number_is_asked_for(
    root: Client, settings: Any, usd: Any, requests: Any, asks: bool
) -> None:
    limits(settings, usd, requests)
    batches = draft(3), draft(2)
    assert (ASKS in act(root, "submit", *batches, confirmed=False).content.decode()) == asks
    response = act(root, "submit", *batches)
    assert queued() == (0 if asks else 2)
    assert ("Nothing was done: type 5, the number of requests, to confirm." in response.content.decode()) == asks


@pytest.mark.parametrize("typed", ["12001", "12,001", "12.001", "12 001", " 12\u2019001 "])
def test_it_is_typed_as_people_write_it(root: Client, settings: Any, batch: MessageBatch, typed: str) -> None:
    limits(settings, requests=10_000)
    in_state(batch, State.DRAFT, request_count=12_001)
    assert said(act(root, "submit", batch, requests=typed)) == ["1 batch is queued and goes out shortly."]


@pytest.mark.parametrize("typed", ["", "4", "33", "three", "-3", "3e0"])
def test_another_number_does_nothing(root: Client, settings: Any, batch: MessageBatch, typed: str) -> None:
    limits(settings, requests=2)
    assert "type 3, the number" in act(root, "submit", batch, requests=typed).content.decode()
    assert queued() == 0


def test_the_number_is_of_those_that_are_sent(root: Client, settings: Any, batch: MessageBatch) -> None:
    limits(settings, requests=2)
    running = in_state(draft(4), State.IN_PROGRESS)
    assert "type 3, the number" in act(root, "submit", batch, running, requests="7").content.decode()
    assert queued() == 0
    act(root, "submit", batch, running, requests="3")
    assert queued() == 1


def test_a_cost_that_is_not_known_is_above_any_limit(root: Client, settings: Any) -> None:
    limits(settings, usd=1_000_000)
    unknown = MessageBatch.objects.create_draft([item(1, model="claude-unheard-of")])
    act(root, "submit", unknown)
    assert queued() == 0
    act(root, "submit", unknown, requests="1")
    assert queued() == 1


def test_the_default_limits(root: Client, batch: MessageBatch) -> None:
    in_state(batch, State.DRAFT, request_count=10_000)
    assert ASKS not in act(root, "submit", batch, confirmed=False).content.decode()
    in_state(batch, State.DRAFT, request_count=10_001)
    assert ASKS in act(root, "submit", batch, confirmed=False).content.decode()
    dear = {"model": "claude-opus-4-5", "params_bytes": 0, "max_tokens": 10_000_000}
    rows = [
        {"model": dear["model"], "inference_geo": "", "digits": 10, "requests": 1, "bytes": 600, "max_tokens": 10**7}
    ]
    in_state(batch, State.DRAFT, request_count=1, expected_usage=rows)
    assert ASKS in act(root, "submit", batch, confirmed=False).content.decode()
