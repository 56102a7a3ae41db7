from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from django_claude_batches import wire
from django_claude_batches.drafting.body import BodySize
from django_claude_batches.drafting.request import check_header, encode_params
from django_claude_batches.exceptions import ClaudeBatchesError, InvalidRequest, InvalidTransition, LimitExceeded
from django_claude_batches.models import BatchEvent, BatchRequest, MessageBatch, State
from tests.harness.factories import draft, in_state, item
from tests.harness.library.models import Book

pytestmark = pytest.mark.django_db

NAN = float("nan")
BODY = item(0)["params"]


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"custom_id": "a b", "params": {}}, "only the characters"),
        ({"custom_id": "", "params": {}}, "at least one"),
        ({"custom_id": "é", "params": {}}, "only the characters"),
        ({"custom_id": "a\n", "params": {}}, "only the characters"),
        ({"custom_id": "x" * 51, "params": {}}, "the API allows 64, and 14 are needed for a prefix"),
        ({"custom_id": 7, "params": {}}, "must be text"),
        ({**item(9), "custom_id": "r-1"}, "used twice"),
        ({"params": [1]}, "must be a JSON object"),
        ({"params": None}, "must be a JSON object"),
        ({"params": {"temperature": NAN}}, "cannot be encoded"),
        ({"params": {"x": {1, 2}}}, "cannot be encoded"),
        ({"params": {"x": nested(100_000)}}, "cannot be encoded"),
        ({"params": {"system": "\ud83d"}}, "U+D83D, half of a character"),
        ({"params": {"\udc00": 1}}, "U+DC00, half of a character"),
        ({"params": {"stream": True}}, "params.stream is not supported"),
        ({"params": {"speed": "fast"}}, "params.speed is not supported"),
        ({"params": {"fallbacks": [{}]}}, "params.fallbacks is not supported"),
        ({"params": {}}, "params.model is missing"),
        ({"params": {**BODY, "model": ""}}, "params.model must be the name of a model, not an empty str"),
        ({"params": {**BODY, "max_tokens": None}}, "params.max_tokens is missing"),
        *(
            (
                {"params": {**BODY, "max_tokens": given}},
                f"params.max_tokens must be a whole number from 1, not {said}",
            )
            for given, said in ((0, "0"), (-1, "-1"), (True, "True"), ("5", "str"), (6.5, "6.5"), ([1], "list"))
        ),
        ({"params": {**BODY, "messages": []}}, "params.messages must be a list with at least one message"),
        ({"params": {**BODY, "messages": "Hello"}}, "params.messages must be a list"),
        (
            {"params": {**BODY, "betas": ["a-beta"]}},
            "params.betas is no member of a Messages call's body: pass them to",
        ),
        *(
            ({"params": {**BODY, key: {}}}, f"params.{key} is no member of a Messages call's body")
            for key in ("extra_body", "extra_headers", "extra_query", "timeout")
        ),
        ({"params": {}, "target": Book(title="unsaved")}, "saved model instance"),
        ({"params": {}, "target": 7}, "saved model instance"),
        ({"params": {}, "costum_id": "x"}, "unknown key 'costum_id'"),
        ({"custom_id": "x"}, 'must be a mapping with "params"'),
        ("text", 'must be a mapping with "params"'),
    ],
)
@pytest.mark.database
def test_what_a_batch_refuses_is_named_and_leaves_no_rows(bad: Any, reason: str) -> None:
    with pytest.raises(InvalidRequest, match="Request 2") as caught:
        MessageBatch.objects.create_draft([item(0), item(1), bad, item(3)])
    assert reason in caught.value.reason
    assert caught.value.position == 2
    assert isinstance(caught.value, ClaudeBatchesError)
    assert isinstance(caught.value, ValueError)
    assert not MessageBatch.objects.exists()
    assert not BatchRequest.objects.exists()
    assert not BatchEvent.objects.exists()


@pytest.mark.parametrize(
    "params",
    [
        {"messages": "about Quetzalcoatl"},
        {"messages": {"role": "user", "content": "about Quetzalcoatl"}},
        {"model": ["Quetzalcoatl"]},
        {"max_tokens": "Quetzalcoatl"},
        {"metadata": {"about Quetzalcoatl": NAN}},
        {"metadata": {"x" * 40 + "Quetzalcoatl": NAN}},
        {"betas": "about Quetzalcoatl"},
    ],
    ids=str,
)
def test_a_refusal_quotes_no_prompt(params: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        encode_params({**BODY, **params})
    assert "Quetzal" not in str(caught.value)


@pytest.mark.parametrize("value", ["about Quetzalcoatl", ["Quetzalcoatl"]])
def test_nor_does_that_of_a_header(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="must be one word of printable ASCII without commas") as caught:
        check_header("a beta", value)
    assert "Quetzal" not in str(caught.value)


def test_an_iterable_that_raises_leaves_no_rows() -> None:
    def broken() -> Iterator[Any]:
        yield item(0)
        raise OSError("the file ended")

    with pytest.raises(OSError, match="the file ended"):
        MessageBatch.objects.create_draft(broken())
    assert not MessageBatch.objects.exists()


def test_no_request_at_all_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="at least one request"):
        MessageBatch.objects.create_draft([])


@pytest.mark.parametrize("headers", [{"betas": ["a, b"]}, {"betas": [7]}, {"betas": ["a\n"]}, {"user_profile_id": "é"}])
def test_what_no_header_can_hold_is_refused(headers: Any) -> None:
    with pytest.raises(InvalidRequest, match="printable ASCII"):
        draft(1, **headers)
    assert not MessageBatch.objects.exists()


@pytest.mark.parametrize("value", [False, None])
def test_what_the_api_takes_as_absent_is_taken(value: Any) -> None:
    assert MessageBatch.objects.create_draft([item(0, stream=value)]).request_count == 1


def test_params_are_kept_as_they_will_be_sent() -> None:
    params = {**BODY, "z": "é 😀 \u2028 \0", "a": [1, 1.5, True, None], "n": 10**30}
    batch = MessageBatch.objects.create_draft([{"params": params}])
    request = batch.requests.get()
    assert request.custom_id == "0"
    ours = '"z":"é 😀 \u2028 \\u0000","a":[1,1.5,true,null],"n":1' + "0" * 30 + "}"
    assert request.params_text == json.dumps(BODY, separators=(",", ":"))[:-1] + "," + ours
    assert request.params_bytes == len(request.params_text.encode())
    assert request.params == params


def test_the_size_is_that_of_the_body_with_tags() -> None:
    batch = draft(3)
    tagged = [{"custom_id": f"{'t' * 13}_r-{n}", "params": item(n)["params"]} for n in range(3)]
    body = json.dumps({"requests": tagged}, ensure_ascii=False, separators=(",", ":")).encode()
    assert batch.body_bytes == len(body)


def test_the_request_that_tips_the_size_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    exactly = draft(3).body_bytes
    monkeypatch.setattr(wire, "MAX_BODY_BYTES", exactly)
    assert draft(3).request_count == 3
    monkeypatch.setattr(wire, "MAX_BODY_BYTES", exactly - 1)
    with pytest.raises(LimitExceeded, match=f"{exactly:,} bytes") as caught:
        draft(3)
    assert (caught.value.position, caught.value.custom_id) == (2, "r-2")


def test_one_request_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_REQUESTS", 3)
    assert draft(3).request_count == 3
    with pytest.raises(LimitExceeded, match="at most 3 requests") as caught:
        draft(4)
    assert caught.value.position == 3


def test_the_limits_are_those_of_the_api() -> None:
    assert (wire.MAX_REQUESTS, wire.MAX_BODY_BYTES) == (100_000, 256_000_000)
    assert BodySize().bytes == len(b'{"requests":[]}')


@pytest.mark.database
def test_a_draft_costs_nothing_and_is_said_in_the_timeline(django_user_model: Any) -> None:
    user = django_user_model.objects.create_user("ada")
    told: list[int] = []
    batch = draft(
        2500, label="Tags", kind="tags", created_by=user, betas=["output-300k-2026-03-24"], progress=told.append
    )
    assert (batch.state, batch.request_count, batch.next_action_at) == (State.DRAFT, 2500, None)
    assert told == [1000, 2000, 2500]
    assert batch.created_by_name == "ada"
    assert batch.betas == ["output-300k-2026-03-24"]
    event = batch.events.get()
    assert (event.what, event.by_name) == ("drafted", "ada")
    assert list(batch.requests.values_list("position", flat=True)[:3]) == [0, 1, 2]


@pytest.mark.database
def test_custom_ids_that_differ_only_in_case_are_two() -> None:
    batch = MessageBatch.objects.create_draft([{**item(0), "custom_id": "A"}, {**item(0), "custom_id": "a"}])
    assert batch.requests.get(custom_id="a").position == 1


def test_items_are_let_go_as_they_are_stored() -> None:
    class Params(dict[str, Any]):
        """A dictionary that can be watched."""

    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    def items() -> Iterator[Any]:
        nonlocal most
        for number in range(5000):
            params = Params(item(number)["params"])
            alive.add(WeakKey(params))
            most = max(most, len(alive))
            yield {"params": params}

    class WeakKey:
        """Lives as long as its params, and is hashable where a dictionary is not."""

        def __init__(self, params: Params) -> None:
            params.key = self  # type: ignore[attr-defined]

    assert MessageBatch.objects.create_draft(items()).request_count == 5000
    assert most <= 3


def test_targets_cost_no_query_each(django_assert_max_num_queries: Any) -> None:
    books = Book.objects.bulk_create(Book(title=str(number)) for number in range(500))
    items = ({**item(book.pk), "target": book} for book in books)
    with django_assert_max_num_queries(25):
        batch = MessageBatch.objects.create_draft(items)
    assert batch.requests.for_target(books[7]).get().target == books[7]


class TestChangingARequest:
    def test_params_of_a_draft_can_be_changed(self) -> None:
        batch = draft(2)
        before = batch.body_bytes
        request = batch.requests.get(custom_id="r-1")
        request.params = {**request.params, "max_tokens": 1000}
        request.save()
        batch.refresh_from_db()
        request.refresh_from_db()
        assert batch.body_bytes == before + 2
        assert request.params["max_tokens"] == 1000

    @pytest.mark.parametrize("state", [State.REJECTED, State.HELD])
    def test_correcting_a_refused_batch_makes_it_a_draft(self, state: State) -> None:
        batch = in_state(state, last_error="no")
        request = batch.requests.get()
        request.params = {**request.params, "max_tokens": 9}
        request.save()
        batch.refresh_from_db()
        assert (batch.state, batch.last_error) == (State.DRAFT, "")

    @pytest.mark.parametrize("state", [State.QUEUED, State.SUBMITTING, State.IN_PROGRESS, State.INGESTED])
    def test_requests_are_fixed_once_queued(self, state: State) -> None:
        request = in_state(state).requests.get()
        with pytest.raises(InvalidTransition, match="cannot be changed"):
            request.save()

    def test_a_change_is_checked_like_a_draft(self, monkeypatch: pytest.MonkeyPatch) -> None:
        batch = draft(1)
        request = batch.requests.get()
        with pytest.raises(InvalidRequest, match="stream"):
            request.params = {"stream": True}
        monkeypatch.setattr(wire, "MAX_BODY_BYTES", batch.body_bytes)
        request.params = {**request.params, "system": "longer"}
        with pytest.raises(LimitExceeded, match="too large"):
            request.save()

    def test_requests_are_neither_made_nor_deleted_alone(self) -> None:
        batch = draft(1)
        with pytest.raises(InvalidTransition, match="only with their batch"):
            batch.requests.get().delete()
        with pytest.raises(InvalidTransition, match="only with their batch"):
            batch.requests.all().delete()
        with pytest.raises(InvalidTransition, match="create_draft"):
            BatchRequest.objects.create(batch=batch, position=9, custom_id="x", params_text="{}", params_bytes=2)
