"""What create refuses at once, with the texts of docs/reference/wire.md §5.3."""

from __future__ import annotations

import json

import pytest

from django_claude_batches.testing.emulator.errors import Refusal
from django_claude_batches.testing.emulator.validation.create import read_requests

GOOD = {"custom_id": "a", "params": {}}
PATTERN = "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"
TOO_LONG = "requests.0.custom_id: String should have at most 64 characters"

REFUSED = [
    ([], "Input should be a valid dictionary"),
    ({}, "requests: Field required"),
    ({"requests": [GOOD], "betas": []}, "betas: Extra inputs are not permitted"),
    ({"requests": {}}, "requests: Input should be a valid list"),
    ({"requests": []}, "requests: List should have at least 1 item after validation, not 0"),
    (
        {"requests": [GOOD | {"custom_id": str(n)} for n in range(4)]},
        "requests: List should have at most 3 items after validation, not 4",
    ),
    ({"requests": ["a"]}, "requests.0: Input should be a valid dictionary"),
    ({"requests": [{"params": {}}]}, "requests.0.custom_id: Field required"),
    ({"requests": [GOOD, {"params": {}}]}, "requests.1.custom_id: Field required"),
    ({"requests": [{"custom_id": "a"}]}, "requests.0.params: Field required"),
    ({"requests": [{"custom_id": "a", "params": []}]}, "requests.0.params: Input should be a valid dictionary"),
    ({"requests": [GOOD | {"model": "x"}]}, "requests.0.model: Extra inputs are not permitted"),
    ({"requests": [GOOD | {"custom_id": 1}]}, "requests.0.custom_id: Input should be a valid string"),
    ({"requests": [GOOD | {"custom_id": ""}]}, PATTERN),
    ({"requests": [GOOD | {"custom_id": "a b"}]}, PATTERN),
    ({"requests": [GOOD | {"custom_id": "é"}]}, PATTERN),
    ({"requests": [GOOD | {"custom_id": "a\n"}]}, PATTERN),
    ({"requests": [GOOD | {"custom_id": "a" * 65}]}, TOO_LONG),
    (
        {"requests": [GOOD, GOOD | {"custom_id": "dup"}, GOOD | {"custom_id": "dup"}]},
        "requests: custom_id's must be unique within a batch. Duplicate custom_id found: dup",
    ),
]


@pytest.mark.parametrize(("document", "message"), REFUSED, ids=[message[:50] for _, message in REFUSED])
def test_refused_at_once(document, message):
    with pytest.raises(Refusal) as caught:
        read_requests(json.dumps(document).encode(), max_requests=3)
    assert (caught.value.status, caught.value.type, caught.value.message) == (400, "invalid_request_error", message)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1,]", b'{"requests": [NaN]}', b"\xff", b"[" * 200_000],
    ids=["empty", "cut", "comma", "NaN", "not UTF-8", "deep"],
)
def test_not_json(body):
    with pytest.raises(Refusal, match=r"^The request body is not valid JSON: ."):
        read_requests(body, max_requests=3)


def test_requests_are_taken_as_they_are_and_params_are_not_looked_at():
    requests = [{"custom_id": "a" * 64, "params": {"model": 7}}, {"custom_id": "A-_9", "params": {"text": "héllo"}}]
    body = json.dumps({"requests": requests}, ensure_ascii=False).encode()
    assert read_requests(body, max_requests=3) == requests
