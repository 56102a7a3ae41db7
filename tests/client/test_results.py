from __future__ import annotations

import json
import time
from typing import Any

import pytest

from django_claude_batches.client import BatchesClient, Line
from django_claude_batches.exceptions import APIConnectionError, InvalidRequest, ResultsUnavailable, UnreadableLines
from tests.client.scripted_server import BATCH_ID, Answer, Hangup, Script, refused


def result(custom_id: str, **changes: Any) -> bytes:
    return json.dumps({"custom_id": custom_id, "result": {"type": "canceled"} | changes}, ensure_ascii=False).encode()


def raw(client: BatchesClient, **options: Any) -> list[Line]:
    with client.result_lines(BATCH_ID, **options) as lines:
        return list(lines)


def test_lines_come_as_they_are(client: BatchesClient, server: Script) -> None:
    odd = '{"custom_id":"ü\u2028", "result" : {"type":"x","n":1.0e0}}'.encode()
    server.answers(Answer(chunks=(odd[:9], odd[9:] + b"\r\n\n", b"not json")))
    assert raw(client) == [Line(1, 0, odd, False), Line(3, len(odd) + 3, b"not json", False)]


def test_path_is_built_from_the_id_and_no_compression_is_asked_for(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(body=result("a")))
    raw(client)
    (received,) = server.received
    assert (received.method, received.path) == ("GET", f"/v1/messages/batches/{BATCH_ID}/results")
    assert received.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("rest", [b"", b'{"custom_id":"c","res'], ids=["at a line's end", "in mid-line"])
@pytest.mark.parametrize("chunked", [True, False])
def test_cut_results_give_all_complete_lines_first(
    client: BatchesClient, server: Script, rest: bytes, chunked: bool
) -> None:
    body = result("a") + b"\n" + result("b") + b"\n" + rest
    server.answers(Answer(chunks=(body,), cut=True) if chunked else Answer(body=body, cut=True))
    with client.result_lines(BATCH_ID) as lines:
        assert [next(lines).data, next(lines).data] == [result("a"), result("b")]
        with pytest.raises(APIConnectionError) as caught:
            next(lines)
    assert caught.value.sent is True


def test_cut_results_are_not_asked_for_again(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(chunks=(b"x\n",), cut=True))
    with pytest.raises(APIConnectionError):
        raw(client)
    assert len(server.received) == 1


def test_opening_is_retried(client: BatchesClient, server: Script) -> None:
    busy = refused(529, "overloaded_error", "busy", retry_after_ms="1")
    server.answers(busy, busy, Answer(body=result("a")))
    assert len(raw(client)) == 1
    assert len(server.received) == 3


def test_results_that_are_not_there(client: BatchesClient, server: Script) -> None:
    words = f"Message Batch {BATCH_ID} has no available results."
    server.answers(refused(404, "not_found_error", words, x_should_retry="false"))
    with pytest.raises(ResultsUnavailable, match="has no available results"):
        raw(client)
    with pytest.raises(ResultsUnavailable):
        next(client.results(BATCH_ID))


def test_oversized_line_is_reported_and_passed_over(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(body=result("a") + b"\n" + b"x" * 100_000 + b"\n" + result("b")))
    lines = raw(client, max_line_bytes=1000)
    assert [(line.number, line.oversized, len(line.data)) for line in lines] == [
        (1, False, 50),
        (2, True, 4096),
        (3, False, 50),
    ]


def test_eight_megabytes_in_one_line_are_quick(client: BatchesClient, server: Script) -> None:
    long = result("long", text="x" * 8_000_000)
    server.answers(Answer(body=result("a") + b"\n" + long + b"\n" + result("b")))
    start = time.process_time()
    lines = raw(client)
    assert time.process_time() - start < 5  # 40 s with the chunks of iter_lines
    assert [line.data for line in lines] == [result("a"), long, result("b")]


def test_lines_are_given_out_before_the_rest_has_come(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(chunks=(result("a") + b"\n", b"x" * 1_000_000 + b"\n")))
    with client.result_lines(BATCH_ID) as lines:
        assert next(lines).data == result("a")


def test_unreadable_lines_do_not_stop_the_others(client: BatchesClient, server: Script) -> None:
    bad = [b"{", b"[]", b'{"custom_id":5}', b'{"custom_id":"x","result":null}', b"\xff", b"[" * 100_000, b"1" * 5000]
    server.answers(Answer(body=b"\n".join([result("a"), *bad, result("b")])))
    results = client.results(BATCH_ID)
    assert [next(results)["custom_id"], next(results)["custom_id"]] == ["a", "b"]
    with pytest.raises(UnreadableLines, match=r"^7 lines .* the first is line 2") as caught:
        next(results)
    assert [number for number, _ in caught.value.problems] == [2, 3, 4, 5, 6, 7, 8]


def test_only_a_hundred_unreadable_lines_are_named(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(body=b"{\n" * 250))
    with pytest.raises(UnreadableLines) as caught:
        list(client.results(BATCH_ID))
    assert (caught.value.count, len(caught.value.problems)) == (250, 100)


def test_a_lost_connection_while_opening(client: BatchesClient, server: Script, quick: None) -> None:
    server.answers(Hangup())
    with pytest.raises(APIConnectionError):
        raw(client)
    assert len(server.received) == 3


def test_ids_are_checked_at_the_call(client: BatchesClient, server: Script) -> None:
    for verb in (client.results, client.result_lines):
        with pytest.raises(InvalidRequest, match="one looks like msgbatch_"):
            verb("../models")
    assert server.received == []
