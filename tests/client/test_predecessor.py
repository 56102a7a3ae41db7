"""Each behavior of the library that this client grew out of (docs/reference/wire.md §9), as the API has it.

Rows that need no test here, and why:

- S22 (prices), S23 (cost previews): no HTTP; prices are `django_claude_batches.pricing`, previews are of Messages only.
- S25, its Admin usage report: not an endpoint of batches; `service_tier` is kept, see `test_s24_s25_…`.
- S26 (an example program): the example project; its flow is `test_s26_…`.
- S27 (recorder and replayer): the emulator in `django_claude_batches.testing`; the smoke path is `test_s27_…`.
- S28 (a blocking client without batches; Bedrock and Vertex without batches): this client blocks and has them all.
"""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from django_claude_batches.client import BatchesClient
from django_claude_batches.exceptions import (
    APIResponseValidationError,
    APIStatusError,
    BadRequestError,
    InternalServerError,
    InvalidRequest,
    NotFoundError,
    PermissionDeniedError,
    UnreadableLines,
    WaitTimeout,
)
from tests.client.conftest import KEY
from tests.client.scripted_server import BATCH_ID, Answer, Hangup, Script, batch, page, refused

ENDED = batch(
    processing_status="ended",
    request_counts={"processing": 0, "succeeded": 1, "errored": 1, "canceled": 0, "expired": 0},
    ended_at="2026-05-01T20:49:05.358585+00:00",
    results_url=f"https://elsewhere.invalid/v1/messages/batches/{BATCH_ID}/results",
)
MESSAGE = {
    "id": "msg_01",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5-20251001",
    "content": [{"type": "thinking", "thinking": "…"}, {"type": "text", "text": "1\u20282"}, {"type": "new_block"}],
    "stop_reason": "a_reason_of_tomorrow",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 16,
        "output_tokens": 5,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens_details": {"thinking_tokens": 2},
        "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 2},
        "service_tier": "batch",
        "speed": "standard",
        "inference_geo": "not_available",
    },
}
SUCCEEDED = {"custom_id": "ok-1", "result": {"type": "succeeded", "message": MESSAGE}}
ERRORED = {
    "custom_id": "bad-model",
    "result": {
        "type": "errored",
        "error": {
            "type": "error",
            "error": {
                "details": {"error_visibility": "user_facing"},
                "type": "not_found_error",
                "message": "model: claude-does-not-exist-9",
            },
            "request_id": None,
        },
    },
}


def jsonl(*lines: object) -> Answer:
    return Answer(body=b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines))


def test_s01_custom_ids_are_checked_before_sending(client: BatchesClient, server: Script) -> None:
    for bad in ("", "x" * 65, "a b", "é"):
        with pytest.raises(InvalidRequest, match="custom_id"):
            client.create([{"custom_id": bad, "params": {}}])
    assert server.received == []


def test_s02_create_posts_the_requests_in_an_envelope(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(data=batch()))
    requests = [{"custom_id": "q1", "params": {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": []}}]
    created = client.create(requests)
    assert created == batch()
    (received,) = server.received
    assert (received.method, received.path) == ("POST", "/v1/messages/batches")
    assert json.loads(received.body) == {"requests": requests}


def test_s02_create_is_never_sent_twice(client: BatchesClient, server: Script) -> None:
    server.answers(refused(500, "api_error", "no", x_should_retry="true"), Answer(data=batch()))
    with pytest.raises(InternalServerError):
        client.create([{"custom_id": "a", "params": {}}])
    assert len(server.received) == 1


def test_s03_retrieve_gets_by_id(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(data=batch()))
    assert client.retrieve(BATCH_ID) == batch()
    assert (server.received[0].method, server.received[0].path) == ("GET", f"/v1/messages/batches/{BATCH_ID}")


def test_s03_an_id_cannot_leave_its_path(client: BatchesClient, server: Script) -> None:
    with pytest.raises(InvalidRequest):
        client.retrieve("msgbatch_x/../../models")
    assert server.received == []


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ({}, "limit=20"),
        ({"limit": 5, "after_id": "msgbatch_a"}, "limit=5&after_id=msgbatch_a"),
        ({"limit": 1000, "before_id": "msgbatch_b"}, "limit=1000&before_id=msgbatch_b"),
    ],
)
def test_s04_list_gives_one_page(client: BatchesClient, server: Script, options: dict[str, Any], query: str) -> None:
    server.answers(page(batch(), has_more=True))
    found = client.list(**options)
    assert found == {"data": [batch()], "has_more": True, "first_id": BATCH_ID, "last_id": BATCH_ID}
    assert server.received[0].path == f"/v1/messages/batches?{query}"


@pytest.mark.parametrize("limit", [0, 1001])
def test_s04_limit_is_1_to_1000(client: BatchesClient, limit: int) -> None:
    with pytest.raises(InvalidRequest, match="1 to 1000"):
        client.list(limit=limit)


def test_s05_list_all_follows_last_id_page_by_page(client: BatchesClient, server: Script) -> None:
    a, b, c = (batch(id=f"msgbatch_{name}") for name in "abc")
    server.answers(page(a, b, has_more=True), page(c))
    batches = client.list_all(limit=2)
    assert server.received == []
    assert [next(batches)["id"], next(batches)["id"]] == ["msgbatch_a", "msgbatch_b"]
    assert len(server.received) == 1
    assert [item["id"] for item in batches] == ["msgbatch_c"]
    assert [item.path.partition("?")[2] for item in server.received] == ["limit=2", "limit=2&after_id=msgbatch_b"]


def test_s05_list_all_goes_towards_newer_ones_by_first_id(client: BatchesClient, server: Script) -> None:
    a, b, c = (batch(id=f"msgbatch_{name}") for name in "abc")
    server.answers(page(b, c, has_more=True), page(a))
    assert [item["id"] for item in client.list_all(before_id="msgbatch_d")] == [
        "msgbatch_b",
        "msgbatch_c",
        "msgbatch_a",
    ]
    paths = [item.path.partition("?")[2] for item in server.received]
    assert paths == ["limit=1000&before_id=msgbatch_d", "limit=1000&before_id=msgbatch_b"]


@pytest.mark.parametrize(
    "last",
    [
        page(has_more=True),
        Answer(data={"data": [batch()], "has_more": True, "first_id": None, "last_id": None}),
        page(batch(), has_more=False),
        Answer(data={"data": []}),
    ],
    ids=["empty", "no cursor", "no more", "bare"],
)
def test_s05_list_all_stops(client: BatchesClient, server: Script, last: Answer) -> None:
    server.answers(last)
    list(client.list_all())
    assert len(server.received) == 1


def test_s06_cancel_shows_canceling(client: BatchesClient, server: Script) -> None:
    canceling = batch(processing_status="canceling", cancel_initiated_at="2026-05-01T20:29:05.594214+00:00")
    server.answers(Answer(data=canceling))
    assert client.cancel(BATCH_ID) == canceling
    (received,) = server.received
    assert (received.method, received.path) == ("POST", f"/v1/messages/batches/{BATCH_ID}/cancel")
    assert (received.headers["content-length"], received.body) == ("0", b"")


def test_s07_delete_is_confirmed(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(data={"id": BATCH_ID, "type": "message_batch_deleted"}))
    assert client.delete(BATCH_ID) == {"id": BATCH_ID, "type": "message_batch_deleted"}
    assert (server.received[0].method, server.received[0].path) == ("DELETE", f"/v1/messages/batches/{BATCH_ID}")


MISSING = refused(404, "not_found_error", f"Message Batch {BATCH_ID} not found.", x_should_retry="false")


@pytest.mark.parametrize("lost", [Hangup(), Hangup(reset=True), refused(500, "api_error", "no")])
def test_s07_delete_whose_answer_was_lost_is_confirmed_by_a_404(
    client: BatchesClient, server: Script, lost: Answer | Hangup, quick: list[float]
) -> None:
    server.answers(lost, MISSING)
    assert client.delete(BATCH_ID) == {"id": BATCH_ID, "type": "message_batch_deleted"}
    assert len(server.received) == 2


@pytest.mark.parametrize("first", [[], [refused(429, "rate_limit_error", "no", retry_after_ms="1")]])
def test_s07_a_404_to_a_delete_that_did_nothing_is_an_error(
    client: BatchesClient, server: Script, first: list[Answer]
) -> None:
    server.answers(*first, MISSING)
    with pytest.raises(NotFoundError):
        client.delete(BATCH_ID)


def test_s07_delete_of_a_running_batch_says_why_not(client: BatchesClient, server: Script) -> None:
    words = "In progress batches cannot be deleted. Consider canceling the batch instead."
    server.answers(refused(400, "invalid_request_error", words, x_should_retry="false"))
    with pytest.raises(BadRequestError, match=words) as caught:
        client.delete(BATCH_ID)
    assert (caught.value.status_code, caught.value.type, len(server.received)) == (400, "invalid_request_error", 1)


def test_s08_wait_for_polls_until_ended(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(data=batch()), Answer(data=batch()), Answer(data=ENDED))
    assert client.wait_for(BATCH_ID, poll_interval=0.01) == ENDED
    assert len(server.received) == 3


def test_s08_wait_for_has_an_error_of_its_own_for_the_timeout(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(data=batch()))
    with pytest.raises(WaitTimeout) as caught:
        client.wait_for(BATCH_ID, timeout=0.05, poll_interval=0.02)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.last_status == "in_progress"


def test_s09_results_are_typed_objects_from_the_ids_path(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(data=ENDED), jsonl(SUCCEEDED, ERRORED))
    ended = client.retrieve(BATCH_ID)
    assert list(client.results(ended["id"])) == [SUCCEEDED, ERRORED]
    assert server.received[1].path == f"/v1/messages/batches/{BATCH_ID}/results"


def test_s10_results_come_lazily(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(chunks=(json.dumps(SUCCEEDED).encode() + b"\n", b"half of"), cut=True))
    results = client.results(BATCH_ID)
    assert server.received == []
    assert next(results) == SUCCEEDED


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n\r\n"])
def test_s11_blank_lines_returns_and_a_missing_last_newline(client: BatchesClient, server: Script, end: bytes) -> None:
    server.answers(
        Answer(body=b"\n\r\n" + json.dumps(SUCCEEDED).encode() + b"\r\n\n" + json.dumps(ERRORED).encode() + end)
    )
    assert list(client.results(BATCH_ID)) == [SUCCEEDED, ERRORED]


def test_s12_errored_lines_nest_their_error(client: BatchesClient, server: Script) -> None:
    server.answers(jsonl(ERRORED, SUCCEEDED))
    errored, succeeded = client.results(BATCH_ID)
    assert errored["result"]["error"]["error"]["type"] == "not_found_error"
    assert errored["result"]["error"]["request_id"] is None
    assert succeeded["custom_id"] == "ok-1"


def test_s12_one_bad_line_does_not_end_the_download(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(body=b'{"custom_id": \n' + json.dumps(SUCCEEDED).encode()))
    results = client.results(BATCH_ID)
    assert next(results) == SUCCEEDED
    with pytest.raises(UnreadableLines) as caught:
        next(results)
    assert caught.value.problems[0][0] == 1


def test_s13_unknown_types_of_result_are_kept(client: BatchesClient, server: Script) -> None:
    lines = [{"custom_id": "a", "result": {"type": "postponed", "until": "tomorrow"}, "new": 1}]
    server.answers(jsonl(*lines))
    assert list(client.results(BATCH_ID)) == lines


def test_s14_unknown_status_is_kept(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(data=batch(processing_status="paused")))
    assert client.retrieve(BATCH_ID)["processing_status"] == "paused"


@pytest.mark.parametrize(
    "counts", [{"succeeded": 3, "postponed": 1}, {"succeeded": 3, "postponed": 1, "errored": None}]
)
def test_s15_missing_counts_are_0_and_unknown_ones_are_kept(
    client: BatchesClient, server: Script, counts: dict[str, Any]
) -> None:
    server.answers(Answer(data=batch(request_counts=counts)))
    expected = {"processing": 0, "succeeded": 3, "errored": 0, "canceled": 0, "expired": 0, "postponed": 1}
    assert client.retrieve(BATCH_ID)["request_counts"] == expected


def test_s16_missing_fields_are_none_and_extra_ones_are_kept(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(data={"id": BATCH_ID, "processing_status": "ended", "new_field": [1]}))
    found = dict(client.retrieve(BATCH_ID))
    assert found["ended_at"] is found["archived_at"] is found["cancel_initiated_at"] is found["results_url"] is None
    assert found["new_field"] == [1]
    assert found["request_counts"] == dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)


def test_s17_the_id_is_all_that_must_be_kept(make_client: Callable[..., BatchesClient], server: Script) -> None:
    server.answers(Answer(data=batch()), Answer(data=ENDED), jsonl(SUCCEEDED))
    kept = make_client().create([{"custom_id": "ok-1", "params": {}}])["id"]
    later = make_client()
    later.wait_for(kept, poll_interval=0.01)
    assert [line["custom_id"] for line in later.results(kept)] == ["ok-1"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"authorization": f"Bearer {KEY}", "anthropic-version": "2023-06-01"}),
        ({"auth": "x-api-key"}, {"x-api-key": KEY}),
        ({"anthropic_version": "2026-10-21"}, {"anthropic-version": "2026-10-21"}),
        ({"betas": ["a", "b", "a"]}, {"anthropic-beta": "a,b"}),
        ({"workspace_id": "wrkspc_1"}, {"anthropic-workspace-id": "wrkspc_1"}),
    ],
)
def test_s18_headers_of_every_call(
    make_client: Callable[..., BatchesClient], server: Script, options: dict[str, Any], expected: dict[str, str]
) -> None:
    server.answers(Answer(data=batch()))
    client = make_client(**options)
    client.create([{"custom_id": "a", "params": {}}])
    client.retrieve(BATCH_ID)
    client.cancel(BATCH_ID)
    client.delete(BATCH_ID)
    server.answers(page())
    client.list()
    server.answers(jsonl())
    list(client.results(BATCH_ID))
    assert len(server.received) == 6
    for received in server.received:
        assert expected.items() <= received.headers.items()
        assert received.headers["user-agent"].startswith("django-claude-batches/")
        assert ("anthropic-beta" in received.headers) == ("betas" in options)


def test_s18_base_url_may_have_a_path(make_client: Callable[..., BatchesClient], server: Script) -> None:
    server.answers(Answer(data=batch()))
    make_client(base_url=server.url + "/gateway/").retrieve(BATCH_ID)
    assert server.received[0].path == f"/gateway/v1/messages/batches/{BATCH_ID}"


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_s19_reads_are_tried_three_times(
    client: BatchesClient, server: Script, status: int, quick: list[float]
) -> None:
    server.answers(refused(status, "x", "no"))
    with pytest.raises(APIStatusError):
        client.retrieve(BATCH_ID)
    assert len(server.received) == 3
    assert 0.375 <= quick[0] <= 0.5 < 0.75 <= quick[1] <= 1


def test_s19_the_servers_advice_and_dates_are_followed(
    client: BatchesClient, server: Script, quick: list[float]
) -> None:
    date, later = "Sun, 22 Nov 2026 12:00:00 GMT", "Sun, 22 Nov 2026 12:00:09 GMT"
    server.answers(refused(400, "x", "no", x_should_retry="true", retry_after=later, date=date), Answer(data=batch()))
    client.retrieve(BATCH_ID)
    assert quick == [9.0]


def test_s20_an_error_tells_all_that_the_api_said(client: BatchesClient, server: Script) -> None:
    details = {"error_code": "organization_on_hold", "appeal_url": "https://example.org"}
    server.answers(refused(400, "invalid_request_error", "On hold.", details=details, retry_after="5"))
    with pytest.raises(PermissionDeniedError) as caught:
        client.retrieve(BATCH_ID)
    error = caught.value
    assert (error.status_code, error.type, error.error_code) == (400, "invalid_request_error", "organization_on_hold")
    assert (error.message, error.request_id, error.retry_after) == ("On hold.", "req_011body", 5.0)
    assert error.details == details
    assert str(error) == "Anthropic answered 400 organization_on_hold: On hold. (request id req_011body)"


def test_s20_what_is_not_json_is_kept_as_text(client: BatchesClient, server: Script, quick: list[float]) -> None:
    server.answers(Answer(status=502, body=b"<h1>Bad Gateway</h1>", headers={"request-id": "req_1"}))
    with pytest.raises(APIResponseValidationError) as caught:
        client.retrieve(BATCH_ID)
    assert (caught.value.message, caught.value.request_id) == ("Bad Gateway", "req_1")


def test_s20_only_the_beginning_of_an_error_is_read(client: BatchesClient, server: Script) -> None:
    server.answers(Answer(status=418, body=b"x" * 20_000_000))
    tracemalloc.start()
    with pytest.raises(APIResponseValidationError) as caught:
        client.retrieve(BATCH_ID)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.message == "x" * 500
    assert peak < 6_000_000  # bytes


def test_s21_the_key_is_in_no_repr(client: BatchesClient, server: Script) -> None:
    assert repr(client) == f"<BatchesClient {server.url}>"
    assert KEY not in repr(vars(client))


def test_s24_s25_unknown_keys_of_an_answer_are_kept(client: BatchesClient, server: Script) -> None:
    server.answers(jsonl(SUCCEEDED))
    (line,) = client.results(BATCH_ID)
    message = dict(line["result"]["message"])
    assert message == MESSAGE
    assert message["usage"]["service_tier"] == "batch"  # type: ignore[index]


def test_s26_three_requests_from_submission_to_answers(client: BatchesClient, server: Script) -> None:
    lines = [{"custom_id": f"q{n}", "result": {"type": "succeeded", "message": MESSAGE}} for n in (3, 1, 2)]
    server.answers(Answer(data=batch()), Answer(data=batch()), Answer(data=ENDED), jsonl(*lines))

    def questions() -> Iterable[dict[str, Any]]:
        for n in (1, 2, 3):
            yield {"custom_id": f"q{n}", "params": {"messages": [{"role": "user", "content": f"{n}?"}]}}

    created = client.create(questions())
    client.wait_for(created["id"], timeout=5, poll_interval=0.01)
    assert {line["custom_id"] for line in client.results(created["id"])} == {"q1", "q2", "q3"}


def test_s27_create_cancel_delete(client: BatchesClient, server: Script) -> None:
    words = f"Batch `{BATCH_ID}` has not finished canceling. Please wait for cancellation to completed before deleting."
    server.answers(
        Answer(data=batch()),
        Answer(data=batch(processing_status="canceling")),
        refused(400, "invalid_request_error", words, x_should_retry="false"),
    )
    created = client.create([{"custom_id": "a", "params": {}}])
    client.cancel(created["id"])
    with pytest.raises(BadRequestError, match="has not finished canceling"):
        client.delete(created["id"])
    assert len(server.received) == 3
