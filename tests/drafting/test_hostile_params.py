"""Values that break databases, on their way in: sent exactly as given, or refused with the place where they stand."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from django.db import connection

from django_claude_batches import services
from django_claude_batches.exceptions import InvalidRequest, LimitExceeded
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, item
from tests.harness.hostile_values import CHANGED, KEPT, UNREADABLE
from tests.harness.selections import slow_but

pytestmark = [pytest.mark.django_db, pytest.mark.database]

SENT = {
    name: json.loads(value.json)
    for name, value in {**KEPT, **CHANGED}.items()
    if name in KEPT or name in {"NUL", "31 levels", "32 levels", "100 levels"}
} | {"numbers as keys": {7: "a", None: "b", True: "c", 1.5: "d"}}


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def itself() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


REFUSED = {
    "the first half of a character": ("x\ud83dy", "U+D83D, half of a character"),
    "the second half of a character": ("\ude00", "U+DE00, half of a character"),
    "NaN": (float("nan"), "Out of range float"),
    "infinity": (float("inf"), "Out of range float"),
    "5,000 digits": (10**5000, "Exceeds the limit"),
    "600 levels": (nested(600), "nested more than 500 levels deep"),
    "5,000 levels": (nested(5000), "nested more than 500 levels deep"),
    "100,000 levels": (nested(100_000), "nested more than 500 levels deep"),
    "itself": (itself(), "nested more than 500 levels deep"),
    "bytes": (b"x", "not JSON serializable"),
    "keys that become the same": ({1: "a", "1": "b"}, 'the key "1" occurs twice'),
}


def body_of(params: list[Any], tag: str) -> bytes:
    requests = [{"custom_id": f"{tag}_{position}", "params": each} for position, each in enumerate(params)]
    return json.dumps({"requests": requests}, ensure_ascii=False, separators=(",", ":")).encode()


def places(value: Any) -> list[dict[str, Any]]:
    """A request's params for each place."""
    asked = item(0)["params"]
    params = [
        asked | {"messages": [{"role": "user", "content": value}]},
        asked | {"tools": [{"input_schema": {"properties": [{"a": value}]}}]},
        asked | {"temperature": value},
        asked,
    ]
    if isinstance(value, str):
        params += [asked | {"metadata": {value: 1}}, asked | {"model": value or "none"}]
    return params


@pytest.mark.parametrize("name", slow_but(2, SENT))
def test_what_can_be_sent_is_sent_as_given(claude: ClaudeEmulator, name: str) -> None:
    params = places(SENT[name])
    batch = services.advance(services.submit(MessageBatch.objects.create_draft({"params": each} for each in params)))
    assert batch.state == State.IN_PROGRESS, batch.last_error
    (create,) = [request for request in claude.requests if request.method == "POST"]
    assert create.body == body_of(params, batch.attempts.get().tag)
    given = json.loads(json.dumps(params))
    assert [request.params for request in batch.requests.all()] == given


@pytest.mark.parametrize(
    ("place", "around"),
    slow_but(
        2,
        [
            ("params.system", lambda value: {"system": value}),
            ("params.model", lambda value: {"model": value}),
            ("params.messages[0].content[1].text", lambda value: {"messages": [{"content": ["x", {"text": value}]}]}),
            ("params.metadata[…]", lambda value: {"metadata": {"an odd key": value}}),
            ("params.metadata.a_key", lambda value: {"metadata": {"a_key": value}}),
        ],
    ),
)
@pytest.mark.parametrize("name", slow_but(2, REFUSED))
def test_what_cannot_be_sent_is_refused_by_place(name: str, place: str, around: Any) -> None:
    value, reason = REFUSED[name]
    with pytest.raises(InvalidRequest, match=r"^Request 1 ") as caught:
        MessageBatch.objects.create_draft([item(0), {"custom_id": "odd", "params": around(value)}, item(2)])
    assert reason in caught.value.reason
    assert place in caught.value.reason
    assert (caught.value.position, caught.value.custom_id) == (1, "odd")
    assert not MessageBatch.objects.exists()


def test_half_a_character_in_a_key_is_refused_by_place() -> None:
    with pytest.raises(InvalidRequest, match=r"params\.metadata has a key with U\+D83D, half of a character"):
        MessageBatch.objects.create_draft([{"params": {"metadata": {"\ud83d": 1}}}])


def test_every_value_on_the_way_back_has_its_fate_here() -> None:
    assert {*CHANGED, *KEPT, *UNREADABLE} - SENT.keys() - REFUSED.keys() == {
        # These are of bytes, which Python's parser has read or refused before they can be given to us.
        "two halves in the wrong order",
        "a half as bytes",
        "minus infinity",
        "1e999",
        "a fraction that no float holds",
        "a repeated key",
        "half an escape",
        "a bare control character",
        "a bare NUL",
        "bytes that are not UTF-8",
    }


@pytest.mark.parametrize("text", ["x" * 32_000_000, '"' * 7_500_000], ids=["32 MB", "escaped"])
def test_a_large_request(claude: ClaudeEmulator, text: str) -> None:
    """MariaDB takes 16 MB in a statement, in which a quote, escaped in JSON, takes 4 bytes."""
    items = [item(0), item(1, system=text), item(2)]
    if connection.vendor == "mysql":
        with pytest.raises(LimitExceeded, match="max_allowed_packet") as caught:
            MessageBatch.objects.create_draft(items)
        assert (caught.value.position, caught.value.custom_id) == (1, "r-1")
        assert not MessageBatch.objects.exists()
        return
    batch = services.advance(services.submit(MessageBatch.objects.create_draft(items)))
    (create,) = [request for request in claude.requests if request.method == "POST"]
    tag = batch.attempts.get().tag
    sent = body_of([each["params"] for each in items], tag)
    for number in range(3):
        sent = sent.replace(f'"{tag}_{number}"'.encode(), f'"{tag}_r-{number}"'.encode())
    assert create.sha256 == hashlib.sha256(sent).hexdigest()


@pytest.mark.slow
def test_a_request_that_became_too_large_is_refused() -> None:
    request = draft(1).requests.get()
    request.params = {**request.params, "system": "x" * 32_000_000}
    if connection.vendor == "mysql":
        with pytest.raises(LimitExceeded, match="max_allowed_packet"):
            request.save()
    else:
        request.save()
    request.refresh_from_db()
    assert ("system" in request.params) == (connection.vendor != "mysql")
