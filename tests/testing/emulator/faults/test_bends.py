"""`Bend`: one declared change of an answer."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import socket
import time

import pytest

from django_claude_batches.testing import Bend, ClaudeEmulator, RandomBends
from django_claude_batches.testing.emulator.faults.command_line import parse_bend
from django_claude_batches.testing.emulator.faults.mutations import HOWS
from tests.harness.selections import slow_but
from tests.testing.caller import BATCHES, call, create

PROCESSING = "request_counts.processing"


@pytest.fixture
def shown(claude, batch_id):
    return lambda: call(claude, "GET", f"{BATCHES}/{batch_id}")


def test_a_field_has_another_value(claude, shown):
    claude.bend(Bend(endpoint="retrieve", field="request_counts.processing", to=7))
    counts = shown().json["request_counts"]
    assert (counts["processing"], counts["succeeded"]) == (7, 4)


def test_each_endpoint_that_has_the_field(claude, batch_id, shown):
    claude.bend(Bend(field="processing_status", to="paused"))
    assert shown().json["processing_status"] == "paused"
    assert call(claude, "GET", BATCHES).json["data"][0]["processing_status"] == "paused"
    assert create(claude)


@pytest.mark.parametrize(
    ("how", "is_bent"),
    [
        ("replace", lambda value: isinstance(value, str) and value.startswith("20")),
        ("drop", lambda value: value == "absent"),
        ("retype", lambda value: not isinstance(value, str)),
        ("huge", lambda value: len(value) == 20_000),
        ("null", lambda value: value is None),
        ("nul", lambda value: "\0" in value),
        ("surrogate", lambda value: re.search("[\ud800-\udfff]", value)),
        ("out_of_range", lambda value: not value.startswith("20") or "25:61" in value),
    ],
)
def test_each_way_to_bend_a_time(claude, shown, how, is_bent):
    right = shown().json["created_at"]
    claude.bend(Bend(field="created_at", how=how))
    value = shown().json.get("created_at", "absent")
    assert value != right
    assert is_bent(value)


@pytest.mark.parametrize("how", slow_but(2, HOWS))
@pytest.mark.parametrize(
    "field",
    slow_but(2, ["request_counts", "request_counts.succeeded", "ended_at", "archived_at", "results_url", "id", "type"]),
)
def test_each_way_to_bend_each_type(claude, shown, how, field):
    right = shown().json
    claude.bend(Bend(field=field, how=how))
    assert shown().json != right or (how == "null" and field == "archived_at")


def test_one_entry_of_a_listing_or_the_page_itself(claude):
    older, newer = create(claude), create(claude)
    claude.bend(Bend(endpoint="list", field="id", to="x", entry=2))
    assert [each["id"] for each in call(claude, "GET", BATCHES).json["data"]] == [newer, "x"]
    claude.bend(Bend(endpoint="list", field="has_more", to=True))
    assert call(claude, "GET", BATCHES).json["has_more"] is True
    assert call(claude, "GET", f"{BATCHES}/{older}").json["id"] == older


def test_lines_of_results(claude, batch_id, download):
    claude.bend(Bend(endpoint="results", field="custom_id", how="nul", entry=1, times=1))
    claude.bend(Bend(endpoint="results", field="result.message.usage.input_tokens", to=-1, at=2))
    assert sum("\0" in custom_id for custom_id in download().lines) == 1
    assert {line["message"]["usage"]["input_tokens"] for line in download().lines.values()} == {-1}
    assert sum("\0" in line.custom_id for line in claude.downloads[0].lines) == 1


def test_an_error(claude):
    claude.bend(Bend(endpoint="retrieve", field="error.message", to="a\0b"))
    claude.bend(Bend(endpoint="retrieve", field="id", to="x"))
    answer = call(claude, "GET", f"{BATCHES}/msgbatch_x")
    assert answer.error == (404, "not_found_error", "a\0b")
    assert "id" not in answer.json


@pytest.mark.parametrize("name", ["request-id", "Date", "retry-after", "server"])
@pytest.mark.parametrize(
    ("how", "is_bent"), [("drop", lambda value: value is None), ("nul", lambda value: "\0" in value)]
)
def test_a_header(claude, shown, name, how, is_bent):
    claude.bend(Bend(header=name, how=how))
    assert is_bent(shown().headers.get(name.lower()))


def test_a_header_has_another_value(claude, shown):
    claude.bend(Bend(header="retry-after", to="Mon, 01 Jan 99999999999999999999 00:00:00 GMT"))
    claude.bend(Bend(header="x-odd", to="ž"))
    headers = shown().headers
    assert "9" * 20 in headers["retry-after"]
    assert headers["x-odd"].encode("latin-1").decode() == "ž"


@pytest.mark.parametrize("to", ["0", "100000", "seven"])
def test_a_length_that_is_not_the_bodys(claude, shown, to):
    claude.bend(Bend(header="content-length", to=to, times=1))
    try:
        shown()
    except http.client.HTTPException:
        assert to == "100000"
    assert shown().status == 200


def test_a_status(claude):
    claude.bend(Bend(endpoint="create", status=503, times=1))
    with pytest.raises(AssertionError):
        create(claude)
    assert len(claude.batches) == 1
    claude.bend(Bend(endpoint="list", status=204))
    assert (call(claude, "GET", BATCHES).status, call(claude, "GET", BATCHES).body) == (204, b"")


@pytest.mark.parametrize(("listing", "count"), [("empty", 0), ("delayed", 0), ("short", 10), ("reordered", 20)])
def test_listings(claude, listing, count):
    for _ in range(20):
        create(claude)
    claude.bend(Bend(listing=listing, seconds=600))
    shown = len(call(claude, "GET", BATCHES).json["data"])
    assert shown == count if listing != "short" else 0 < shown < 20


def test_a_body_that_is_cut(claude, shown, download):
    claude.bend(Bend(body="cut"))
    for ask in (shown, download):
        with pytest.raises(http.client.IncompleteRead):
            ask()


def test_a_body_that_is_slow(claude, shown, download):
    claude.bend(Bend(body="slow", seconds=0.3))
    for ask in (shown, download):
        begun = time.monotonic()
        assert ask().status == 200
        assert time.monotonic() - begun > 0.25


def read_until(claude, enough):
    """Request a listing, and return the first bytes of the answer; then close the connection."""
    request = (
        f"GET {BATCHES} HTTP/1.1\r\nhost: x\r\nx-api-key: {claude.api_key}\r\nanthropic-version: 2023-06-01\r\n\r\n"
    )
    pieces = []
    with socket.create_connection(("127.0.0.1", int(claude.url.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(request.encode())
        while not enough(b"".join(pieces)):
            pieces.append(connection.recv(65536))
            assert pieces[-1]
    return pieces


def test_an_answer_that_comes_byte_by_byte(claude):
    claude.bend(Bend(body="dripped", seconds=0.005))
    begun = time.monotonic()
    came = b"".join(read_until(claude, lambda came: b"\r\ndate: " in came))
    assert time.monotonic() - begun >= 0.005 * (len(came) - 1)


def test_answers_that_never_end(claude):
    claude.bend(Bend(body="endless_continue", seconds=0.005, times=1))
    came = b"".join(read_until(claude, lambda came: came.count(b"\r\n") > 20))
    assert came.startswith(b"HTTP/1.1 100 Continue\r\n\r\n" * 10)
    claude.bend(Bend(body="endless_trailers", seconds=0.005, times=1))
    came = b"".join(read_until(claude, lambda came: came.count(b"x-trailer: 1\r\n") > 10))
    assert b'"data":[]' in came


def test_a_body_that_is_inflated(claude, shown, download):
    claude.bend(Bend(body="inflated", size=50_000))
    assert len(shown().body) > 50_000
    assert shown().json["type"] == "message_batch"
    assert download().body.count(b"\n") == 50_004


def test_a_gzip_bomb(claude, shown, download):
    right, lines = shown().body, download().body
    claude.bend(Bend(body="bomb", size=3_500_000))
    for answer, before, filling in ((shown(), right, b" "), (download(), lines, b"\n")):
        assert answer.headers["content-encoding"] == "gzip"
        assert len(answer.body) < 10_000
        unpacked = gzip.decompress(answer.body)
        assert sorted(unpacked.rstrip().splitlines()) == sorted(before.rstrip().splitlines())
        assert unpacked.count(filling) - before.count(filling) == 3_500_000


def test_markup_and_nothing_else(claude, shown, download):
    claude.bend(Bend(body="markup", size=1000))
    assert shown().body == download().body == b"<" * 1000


def test_a_flood_of_lines(claude, shown, download):
    claude.bend(Bend(body="flood", size=10_000))
    lines = download().lines
    assert list(lines)[4:6] == ["surplus-0", "surplus-1"]
    assert 150 < len(lines) < 250
    assert shown().json["id"]


def test_another_reason(claude):
    claude.bend(Bend(endpoint="list", reason="see sk-ant-x"))
    connection = http.client.HTTPConnection(claude.url.removeprefix("http://"), timeout=20)
    connection.request("GET", BATCHES, headers={"x-api-key": claude.api_key, "anthropic-version": "2023-06-01"})
    response = connection.getresponse()
    connection.close()
    assert (response.status, response.reason) == (200, "see sk-ant-x")


def test_for_one_key_for_some_answers_and_until_removed(claude, batch_id):
    claude.add_key("another")
    bend = Bend(endpoint="list", field="data", to=[], key="another", at=2, times=2)
    claude.bend(bend)
    lengths = [
        [len(call(claude, "GET", BATCHES, x_api_key=key).json["data"]) for _ in range(4)]
        for key in (claude.api_key, "another")
    ]
    assert lengths == [[1, 1, 1, 1], [1, 0, 0, 1]]
    forever = Bend(endpoint="list", field="data", to=[])
    claude.bend(forever)
    assert call(claude, "GET", BATCHES).json["data"] == []
    claude.unbend(forever)
    assert len(call(claude, "GET", BATCHES).json["data"]) == 1
    with pytest.raises(LookupError, match="no such bend"):
        claude.unbend(forever)


def test_the_ledger_names_them(claude, shown):
    claude.bend(Bend(endpoint="retrieve", field="id", how="nul"))
    claude.fault("slow_answer", delay=0, on="retrieve")
    shown()
    assert claude.requests[-1].faults == ("retrieve:field=id,how=nul", "slow_answer")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give one of field, header, status, reason, listing, body; this bend has none"),
        ({"field": "id", "header": "date", "to": 1}, "this bend has field and header"),
        ({"field": "id"}, "a field needs either to or how, which is one of replace, drop, retype, huge, "),
        ({"field": "id", "to": 1, "how": "nul"}, "a field needs either to or how"),
        ({"field": "id", "how": "nil"}, "how is 'nil': it must be one of replace, drop, retype"),
        ({"field": "idd", "to": 1}, "no answer has a field 'idd'. Did you mean id? There are: id, type, "),
        (
            {"field": "has_more", "to": 1, "endpoint": "create"},
            "the answer to create has no field 'has_more'. It has: id",
        ),
        ({"field": "id", "to": 1, "entry": 0}, "entry is 0: entries and lines are counted from 1"),
        ({"field": "id", "to": 1, "endpoint": "lists"}, "unknown endpoint 'lists'. There are: create, retrieve, list"),
        ({"header": "a b", "to": 1}, "'a b' is not the name of a header"),
        ({"header": "date", "to": "a\r\nb"}, "a header cannot contain a line break"),
        ({"status": 99}, "status is 99: it must be a number from 200 to 599"),
        ({"status": 500, "to": 1}, "to and how are for a field or a header; this bend changes a status"),
        ({"listing": "gone"}, "listing is 'gone': it must be one of delayed, empty, short, reordered"),
        ({"listing": "empty", "endpoint": "create"}, "listing is only for the endpoint list, not for create"),
        ({"reason": 7}, "reason is 7: it must be a text"),
        ({"body": "flood", "endpoint": "list"}, "flood is only for the endpoint results, not for list"),
        ({"body": "long"}, "body is 'long': it must be one of slow, cut, inflated, bomb, markup, flood, dripped, e"),
        ({"status": 500, "share": 2}, "share is 0 to 1"),
        ({"status": 500, "at": 0}, "at and times are at least 1"),
    ],
)
def test_invalid_bends_are_refused_with_the_allowed_values(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ClaudeEmulator().bend(Bend(**arguments))


@pytest.mark.parametrize(
    ("text", "bend"),
    [
        (f"list:field={PROCESSING},to=null", Bend(endpoint="list", field=PROCESSING, to=None)),
        ("list+cancel@2-4:field=id,how=nul", Bend(endpoint=("list", "cancel"), field="id", how="nul", at=2, times=3)),
        ("*@10%:status=503", Bend(status=503, share=0.1)),
        ("*:body=endless_continue,seconds=0.1", Bend(body="endless_continue", seconds=0.1)),
        ('list:field=data,to=[{"a":1,"b":2}]', Bend(endpoint="list", field="data", to=[{"a": 1, "b": 2}])),
        ("random@25%:seed=7,key=k", RandomBends(share=0.25, seed=7, key="k")),
        ("random:spare=create:*+*:header=date", RandomBends(spare=("create:*", "*:header=date"))),
    ],
)  # fmt: skip
def test_a_bend_is_parsed_from_a_text(text, bend):
    parsed = parse_bend(text)
    assert vars(parsed) | {"endpoint": parsed.endpoints} == vars(bend) | {"endpoint": bend.endpoints}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a bend: write ENDPOINT"),
        ("lists:status=500", "unknown endpoint 'lists'"),
        ("list:stat=500", "Bend has no 'stat'. It has: endpoint, field, header, "),
        ("random:field=id", "RandomBends has no 'field'. It has: share, seed, "),
        ("random@3", "random bends apply to each answer or to a share of them"),
        ("random:spare=create", "'create' matches no bend: write ENDPOINT:KIND=WHAT"),
    ],
)
def test_invalid_texts_are_refused(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_bend(text)


def test_a_value_is_not_shared_between_answers(claude):
    create(claude), create(claude)
    claude.bend(Bend(endpoint="list", field="request_counts", to={}))
    claude.bend(Bend(endpoint="list", field="request_counts.succeeded", to=9, entry=1))
    page = call(claude, "GET", BATCHES).json
    assert [each["request_counts"] for each in page["data"]] == [{"succeeded": 9}, {}]
    assert json.dumps(page)
