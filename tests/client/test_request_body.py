from __future__ import annotations

import io
import itertools
from collections.abc import Iterable
from typing import Any

import pytest

from django_claude_batches.client import request_body
from django_claude_batches.client.deadline import Pace
from django_claude_batches.client.request_body import BodyReadError, Upload, write_body
from django_claude_batches.exceptions import InvalidRequest, LimitExceeded
from django_claude_batches.wire import MAX_REQUESTS


def written(requests: Iterable[Any]) -> bytes:
    file = io.BytesIO()
    assert write_body(requests, file) == len(file.getvalue())
    return file.getvalue()


def test_body_is_compact_utf8_without_escapes() -> None:
    requests = ({"custom_id": str(n), "params": {"héllo": ["世", "\u2028", None, 1.5]}} for n in range(2))
    item = '"params":{"héllo":["世","\u2028",null,1.5]}}'
    assert written(requests) == f'{{"requests":[{{"custom_id":"0",{item},{{"custom_id":"1",{item}]}}'.encode()


@pytest.mark.parametrize("custom_id", ["", "x" * 65, "a b", "é", "a\n", "a.b", None, 5])
def test_bad_ids_are_refused_with_their_position(custom_id: object) -> None:
    with pytest.raises(InvalidRequest, match=r"Request 1.*custom_id") as caught:
        written([{"custom_id": "good", "params": {}}, {"custom_id": custom_id, "params": {}}])
    assert caught.value.position == 1


def test_same_id_twice_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="twice") as caught:
        written([{"custom_id": "a", "params": {}}] * 2)
    assert (caught.value.position, caught.value.custom_id) == (1, "a")


@pytest.mark.parametrize(
    "request_", [{"custom_id": "a"}, {"custom_id": "a", "params": {}, "target": 1}, {"custom_id": "a", "params": "{}"}]
)
def test_a_request_has_two_keys_and_params_are_an_object(request_: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="custom_id and params"):
        written([request_])


@pytest.mark.parametrize(
    ("value", "reason"),
    [(float("nan"), "not JSON"), (float("inf"), "not JSON"), ("\ud800", "surrogate"), ({1}, "not JSON")],
)
def test_what_json_cannot_carry_is_refused(value: object, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason) as caught:
        written([{"custom_id": "a", "params": {"value": value}}])
    assert caught.value.custom_id == "a"
    assert caught.value.__context__ is None


def test_params_that_hold_themselves_are_refused() -> None:
    params: dict[str, Any] = {}
    params["self"] = params
    with pytest.raises(InvalidRequest, match="not JSON"):
        written([{"custom_id": "a", "params": params}])


def test_no_request_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="at least one"):
        written([])


@pytest.mark.slow
def test_one_request_too_many_is_refused() -> None:
    numbered = ({"custom_id": str(n), "params": {}} for n in itertools.count())
    with pytest.raises(LimitExceeded, match="100,000 requests"):
        written(numbered)
    assert next(numbered)["custom_id"] == str(MAX_REQUESTS + 1)


def test_too_many_bytes_are_refused_at_the_request_that_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = b'{"requests":[{"custom_id":"a","params":{}}]}'
    monkeypatch.setattr(request_body, "MAX_BODY_BYTES", len(fits))
    assert written([{"custom_id": "a", "params": {}}]) == fits
    with pytest.raises(LimitExceeded) as caught:
        written([{"custom_id": "a", "params": {}}, {"custom_id": "b", "params": {}}])
    assert caught.value.position == 1


def test_upload_gives_its_size_and_not_one_byte_more() -> None:
    upload = Upload(io.BytesIO(b"0123456789tail"), 10, Pace(60, limit=""))
    assert (len(upload), upload.started) == (10, False)
    assert [upload.read(6), upload.read(6), upload.read(6)] == [b"012345", b"6789", b""]
    assert upload.started


def test_upload_does_not_read_on_once_all_is_out() -> None:
    class Once(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() == 4:
                raise TimeoutError("too late")
            return super().read(size)

    upload = Upload(Once(b"body"), 4, Pace(60, limit=""))
    assert [upload.read(), upload.read()] == [b"body", b""]


def test_body_shorter_than_announced_breaks() -> None:
    upload = Upload(io.BytesIO(b"0123"), 10, Pace(60, limit=""))
    upload.read()
    with pytest.raises(BodyReadError, match="6 bytes before"):
        upload.read()
