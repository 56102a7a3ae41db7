"""Bodies of any size and in any wrapping: within a bound, in time, and with an error that says what came."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from django_claude_batches.client import BatchesClient
from django_claude_batches.client.errors import MAX_FOREIGN_READ, plain_text
from django_claude_batches.client.response_body import MAX_LISTING_BYTES, MAX_OBJECT_BYTES, unpacked, unpacked_pieces
from django_claude_batches.exceptions import APIConnectionError, APIError, APIResponseValidationError
from django_claude_batches.testing.emulator.faults.oversized import gzip_bomb
from tests.client.scripted_server import BATCH_ID, Answer, Script, batch, page, refused
from tests.harness.selections import slow_but

ROOT = Path(__file__).parents[2]
TINY = json.dumps(batch()).encode()


CALLS: dict[str, Callable[[BatchesClient], object]] = {
    "create": lambda client: client.create([{"custom_id": "a", "params": {}}]),
    "retrieve": lambda client: client.retrieve(BATCH_ID),
    "cancel": lambda client: client.cancel(BATCH_ID),
    "delete": lambda client: client.delete(BATCH_ID),
    "list": lambda client: client.list(limit=1000),
}


def failure_of(call: Callable[[], object]) -> APIError:
    with pytest.raises(APIError) as caught:
        call()
    return caught.value


# Bounds --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", CALLS)
@pytest.mark.parametrize("is_packed", [False, True])
def test_a_body_beyond_its_bound_is_an_error_that_says_so(
    client: BatchesClient, server: Script, verb: str, is_packed: bool, quick: list[float]
) -> None:
    bound = MAX_LISTING_BYTES if verb == "list" else MAX_OBJECT_BYTES
    head = page(batch()).bytes() if verb == "list" else TINY
    body = head + b" " * (bound + 1 - len(head))
    server.answers(Answer(body=gzip.compress(body) if is_packed else body))
    error = failure_of(lambda: CALLS[verb](client))
    assert f"more than {bound:,} bytes" in str(error)
    assert isinstance(error, APIConnectionError) is (verb == "create")
    assert getattr(error, "sent", True) is True
    assert len(server.received) == 1  # it is not asked for again at once


@pytest.mark.parametrize("verb", CALLS)
@pytest.mark.parametrize("is_packed", [False, True])
def test_a_body_within_its_bound_is_read(client: BatchesClient, server: Script, verb: str, is_packed: bool) -> None:
    bound = MAX_LISTING_BYTES if verb == "list" else MAX_OBJECT_BYTES
    head = page(batch()).bytes() if verb == "list" else TINY
    body = head + b" " * (bound - len(head))
    server.answers(Answer(body=gzip.compress(body) if is_packed else body))
    assert CALLS[verb](client)


def test_a_thousand_batches_with_fields_to_come_are_a_listing(client: BatchesClient, server: Script) -> None:
    server.answers(page(*(batch(novel="x" * 3000) for _ in range(1000))))
    assert len(client.list(limit=1000)["data"]) == 1000


def test_a_page_with_more_batches_than_were_asked_for(client: BatchesClient, server: Script) -> None:
    server.answers(page(*(batch() for _ in range(11))))
    assert "11 batches on a page of 10" in str(failure_of(lambda: client.list(limit=10)))
    assert len(client.list(limit=11)["data"]) == 11


@pytest.mark.parametrize("before_id", [None, "msgbatch_z"])
def test_pages_that_lead_in_a_circle_end(client: BatchesClient, server: Script, before_id: str | None) -> None:
    circle = [page(batch(id=f"msgbatch_{name}"), has_more=True) for name in "abab"]
    server.answers(*circle)
    assert len(list(client.list_all(before_id=before_id))) == 3


def test_cookies_are_not_kept(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(data=batch(), headers={"set-cookie": "a=b; Path=/"}))
    client.retrieve(BATCH_ID)
    client.retrieve(BATCH_ID)
    assert "cookie" not in server.received[1].headers


def test_an_error_beyond_its_bound_is_still_an_error(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(404, body=gzip_bomb(b'{"error": {"type": "not_found_error"}, "x": "', 5_000_000)))
    error = failure_of(lambda: client.retrieve(BATCH_ID))
    assert (type(error), getattr(error, "status_code", 0)) == (APIResponseValidationError, 404)


@pytest.mark.parametrize("verb", CALLS)
@pytest.mark.parametrize("status", [200, 500])
def test_the_rest_of_an_endless_body_is_not_read(
    client: BatchesClient, server: Script, verb: str, status: int, quick: list[float]
) -> None:
    sent = 0

    def pieces() -> Any:
        nonlocal sent
        while sent < 200:
            sent += 1
            yield b"x" * 1_000_000

    server.answers(Answer(status, chunks=pieces()))  # type: ignore[arg-type]
    failure_of(lambda: CALLS[verb](client))
    assert sent < 50


# Gzip that nobody asked for ------------------------------------------------------------------------------------------


def test_no_encoding_is_asked_for(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(data=batch()))
    client.retrieve(BATCH_ID)
    assert server.received[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("header", ["gzip", "identity", "br", ""])
def test_gzip_is_known_by_its_bytes(client: BatchesClient, server: Script, header: str) -> None:
    parts = gzip.compress(TINY[:100]) + gzip.compress(b"") + gzip.compress(TINY[100:])
    for body in (gzip.compress(TINY), parts, parts + b"\0\0\0"):
        server.answers(Answer(body=body, headers={"content-encoding": header}))
        assert client.retrieve(BATCH_ID)["id"] == BATCH_ID


ODD = {
    "deflate": zlib.compress(TINY),
    "br": b"\x8b\x02\x80" + bytes(range(256)),
    "zstd": b"\x28\xb5\x2f\xfd" + bytes(range(256)),
    "gzip": gzip.compress(gzip.compress(TINY)),
    "gzip, gzip": gzip.compress(gzip.compress(TINY)),
}


@pytest.mark.parametrize("encoding", ODD)
def test_another_encoding_is_named(client: BatchesClient, server: Script, encoding: str) -> None:
    server.answers(Answer(body=ODD[encoding], headers={"content-encoding": encoding}))
    error = failure_of(lambda: client.retrieve(BATCH_ID))
    assert "not JSON" in str(error)
    assert f"content-encoding: {encoding}" in str(error)


@pytest.mark.parametrize("where", [5, 60, -20, -4])
def test_a_cut_gzip_is_no_good_answer_unless_all_of_it_came(client: BatchesClient, server: Script, where: int) -> None:
    server.answers(Answer(body=gzip.compress(TINY)[:where]))
    if where == -4:
        assert client.retrieve(BATCH_ID)
    else:
        assert "not JSON" in str(failure_of(lambda: client.retrieve(BATCH_ID)))


def test_a_broken_gzip_of_an_error_keeps_its_status(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(400, body=gzip.compress(b"x" * 1000)[:20] + b"\xff" * 50))
    assert getattr(failure_of(lambda: client.retrieve(BATCH_ID)), "status_code", 0) == 400


def test_many_small_parts_take_no_time() -> None:
    began = time.process_time()
    unpacked(gzip.compress(b"") * 50_000, MAX_OBJECT_BYTES)
    assert time.process_time() - began < 1


# Results -------------------------------------------------------------------------------------------------------------

LINE = json.dumps({"custom_id": "a", "result": {"type": "canceled"}}).encode() + b"\n"


@pytest.mark.parametrize("is_chunked", [True, False])
@pytest.mark.parametrize("parts", [1, 3])
def test_results_may_come_as_gzip(client: BatchesClient, server: Script, is_chunked: bool, parts: int) -> None:
    body = gzip.compress(LINE * 1000) * parts
    server.answers(Answer(chunks=(body[:1], body[1:70], body[70:])) if is_chunked else Answer(body=body))
    assert len(list(client.results(BATCH_ID))) == 1000 * parts


@pytest.mark.parametrize("is_chunked", [True, False])
@pytest.mark.parametrize(("spoiled", "words"), [("cut", "its gzip is cut"), ("broken", "its gzip is broken")])
def test_results_whose_gzip_is_spoiled_give_the_lines_before(
    client: BatchesClient, server: Script, is_chunked: bool, spoiled: str, words: str
) -> None:
    body = gzip.compress(LINE * 3)
    body = body[:-8] if spoiled == "cut" else body[:-8] + b"\0" * 8
    server.answers(Answer(chunks=(body,)) if is_chunked else Answer(body=body))
    lines = []
    with pytest.raises(APIConnectionError, match=words), client.result_body(BATCH_ID) as results:
        lines += results
    assert not results.is_complete
    if spoiled == "cut":
        assert [line.data + b"\n" for line in lines] == [LINE] * 3


def test_a_stream_is_unpacked_in_pieces_of_a_bounded_size() -> None:
    sizes = [len(piece) for piece in unpacked_pieces(iter([gzip_bomb(b"", 50_000_000)]))]
    assert sum(sizes) == 50_000_000
    assert max(sizes) == 256 * 1024


@pytest.mark.parametrize("size", [256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 3])
def test_nothing_is_left_in_the_unpacker(size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    for cut in (1, 18, 10_000_000):
        packed = gzip.compress(data)
        assert b"".join(unpacked_pieces(iter([packed[:cut], packed[cut:]]))) == data


# Texts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["<", "<a ", "<!--", "< >", "&lt;", "\x07"])
def test_markup_is_removed_in_time_that_grows_with_its_length(text: str) -> None:
    began = time.process_time()
    plain_text(text * MAX_FOREIGN_READ)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("status", [200, 502])
def test_two_hundred_kilobytes_of_markup_are_no_burden(client: BatchesClient, server: Script, status: int) -> None:
    server.answers(Answer(status, body=b"<" * 200_000, headers={"x-should-retry": "false"}))
    began = time.process_time()
    failure_of(lambda: client.retrieve(BATCH_ID))
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "body",
    [b"[" * 1_000_000, b'{"a":' * 200_000, b"1" * 1_000_000, b"[" + b"1" * 1_000_000 + b"]", b'"' + b"\\" * 999_999],
    ids=["lists", "objects", "number", "number in a list", "backslashes"],
)
def test_json_that_breaks_parsers(client: BatchesClient, server: Script, body: bytes) -> None:
    server.answers(Answer(body=body))
    assert "not JSON" in str(failure_of(lambda: client.retrieve(BATCH_ID)))


# Memory --------------------------------------------------------------------------------------------------------------

PEAK = """
import sys
from django_claude_batches.client import BatchesClient
from django_claude_batches.exceptions import ClaudeBatchesError
from tests.harness.memory import peak_mb
client = BatchesClient(api_key="key", base_url=sys.argv[1], max_retries=0)
client.retrieve(sys.argv[2])
before = peak_mb()
try:
    {call}
except ClaudeBatchesError as error:
    assert "bytes" in str(error) or "lines" in str(error), error
print(peak_mb() - before)
"""

GROWN: dict[str, Any] = {
    "create": ("client.create([{'custom_id': 'a', 'params': {}}])", 10),
    "retrieve": ("client.retrieve(sys.argv[2])", 10),
    "list": ("client.list(limit=1000)", 25),
    "results": ("for _ in client.results(sys.argv[2]): pass", 10),
}


@pytest.mark.parametrize("verb", slow_but(2, GROWN))
def test_a_gzip_bomb_takes_little_memory(server: Script, verb: str) -> None:
    call, limit = GROWN[verb]
    packed = gzip_bomb(LINE, 100_000_000, b"\n") if verb == "results" else gzip_bomb(TINY, 500_000_000)
    server.answers(Answer(data=batch()), Answer(body=packed, headers={"content-encoding": "gzip"}))
    command = [sys.executable, "-c", PEAK.format(call=call), server.url, BATCH_ID]
    grown = float(subprocess.run(command, cwd=ROOT, check=True, timeout=60, capture_output=True, text=True).stdout)
    assert grown < limit  # MB


def test_a_refusal_comes_through_gzip(client: BatchesClient, server: Script) -> None:
    answer = refused(404, "not_found_error", "no such batch", x_should_retry="false")
    server.answers(Answer(404, body=gzip.compress(answer.bytes()), headers=answer.headers))
    assert "no such batch" in str(failure_of(lambda: client.retrieve(BATCH_ID)))
