"""Answers that are lost, cut, late or slow, and batches that are made all the same, later, or never."""

from __future__ import annotations

import http.client
import time

import pytest

from django_claude_batches.testing import ClaudeEmulator
from tests.testing.caller import BATCHES, call, create, encoded, requests_of


def ids(claude):
    return [batch["id"] for batch in call(claude, "GET", BATCHES).json["data"]]


def status(claude, batch_id):
    return call(claude, "GET", f"{BATCHES}/{batch_id}").status


def test_lost_answer(claude):
    claude.fault("lost_answer")
    with pytest.raises(http.client.RemoteDisconnected):
        create(claude)
    (batch,) = claude.batches
    assert ids(claude) == [batch.id]
    log = claude.requests[0]
    assert (log.status, log.answer, log.batch_id, log.faults) == (0, "lost", batch.id, ("lost_answer",))


def test_lost_answer_by_a_reset(claude):
    claude.fault("lost_answer", reset=True)
    with pytest.raises(ConnectionResetError) as caught:
        create(claude)
    assert not isinstance(caught.value, http.client.RemoteDisconnected)
    assert len(claude.batches) == 1


def test_lost_answer_after_a_silence(claude):
    claude.fault("lost_answer", hold=60)
    connection = http.client.HTTPConnection(claude.url.removeprefix("http://"), timeout=0.3)
    connection.request("POST", BATCHES, encoded(requests_of("a")), {"x-api-key": claude.api_key})
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()
    assert call(claude, "GET", BATCHES).status == 200


@pytest.mark.parametrize("verb", ["cancel", "delete"])
def test_lost_answer_of_another_verb(claude, verb):
    batch_id = create(claude)
    if verb == "delete":
        claude.finish()
    claude.fault("lost_answer", on=verb)
    method, path = ("POST", f"{BATCHES}/{batch_id}/cancel") if verb == "cancel" else ("DELETE", f"{BATCHES}/{batch_id}")
    with pytest.raises(http.client.RemoteDisconnected):
        call(claude, method, path)
    batch = claude.batches[0]
    assert batch.deleted if verb == "delete" else batch.processing_status == "canceling"


@pytest.mark.parametrize("after", [None, 0, 1, 200])
def test_cut_answer(claude, after):
    claude.fault("cut_answer", after=after)
    with pytest.raises(http.client.IncompleteRead) as caught:
        create(claude)
    received = len(caught.value.partial)
    assert received == after if after is not None else received > 100
    assert caught.value.expected > 0
    (batch,) = claude.batches
    log = claude.requests[0]
    assert (log.status, log.answer, log.batch_id) == (200, "cut", batch.id)


def test_results_are_cut_by_faults_of_their_own(claude, download):
    claude.fault("cut_answer", on="results")
    assert "cut_mid_line" in download().json["error"]["message"]
    assert claude.served_lines == []


def test_slow_and_cut(claude):
    claude.fault("slow_answer", delay=0.3)
    claude.fault("cut_answer", after=4)
    started = time.monotonic()
    with pytest.raises(http.client.IncompleteRead) as caught:
        create(claude)
    assert time.monotonic() - started >= 0.3
    assert caught.value.partial == b'{"id'


def test_never_lands(claude):
    claude.fault("never_lands")
    with pytest.raises(http.client.RemoteDisconnected):
        create(claude)
    assert (claude.batches, ids(claude)) == ([], [])
    log = claude.requests[0]
    assert (log.status, log.answer, log.batch_id) == (0, "lost", None)


def test_lands_late(claude):
    claude.fault("lands_late", seconds=3600)
    sent_at = claude.now()
    with pytest.raises(http.client.RemoteDisconnected):
        create(claude, "late")
    meanwhile = create(claude, "meanwhile")
    late_id = claude.requests[0].batch_id
    assert ids(claude) == [meanwhile]
    assert status(claude, late_id) == 404
    assert [batch.id for batch in claude.batches] == [meanwhile]
    claude.pass_time(3590)
    assert ids(claude) == [meanwhile]
    claude.pass_time(10)
    after = create(claude, "after")
    assert ids(claude) == [after, late_id, meanwhile]
    assert status(claude, late_id) == 200
    late = claude.batches[1]
    assert 3600 <= (late.created_at - sent_at).total_seconds() < 3605
    claude.finish()
    assert call(claude, "GET", f"{BATCHES}/{late_id}/results").lines.keys() == {"late"}


def test_seen_late(claude):
    claude.fault("seen_late", seconds=120)
    batch_id = create(claude)
    newer = create(claude)
    assert ids(claude) == [newer]
    assert status(claude, batch_id) == 404
    claude.finish()
    claude.pass_time(120)
    assert ids(claude) == [newer, batch_id]
    assert claude.batches[0].created_at < claude.batches[1].created_at
    assert {batch.processing_status for batch in claude.batches} == {"ended"}


def test_slow_answer(claude):
    claude.fault("slow_answer", delay=0.4, on="list")
    started = time.monotonic()
    assert call(claude, "GET", BATCHES).status == 200
    assert time.monotonic() - started >= 0.4
    assert call(claude, "GET", BATCHES).status == 200
    assert [request.faults for request in claude.requests] == [("slow_answer",), ()]


def test_trickle(claude):
    claude.fault("trickle", piece_bytes=10, pause=0.05, on="list")
    started = time.monotonic()
    answer = call(claude, "GET", BATCHES)
    assert answer.json == {"data": [], "has_more": False, "first_id": None, "last_id": None}
    assert time.monotonic() - started >= 0.05 * (len(answer.body) // 10)


def test_trickling_results(claude, batch_id, download):
    claude.fault("trickle", piece_bytes=100, pause=0, on="results")
    assert download().lines.keys() == {"a", "b", "c", "d"}
    assert claude.downloads[0].complete


def test_leaving_does_not_wait_for_what_is_held():
    with ClaudeEmulator() as claude:
        claude.fault("slow_answer", delay=600)
        connection = http.client.HTTPConnection(claude.url.removeprefix("http://"), timeout=20)
        connection.request("GET", BATCHES, headers={"x-api-key": claude.api_key})
        deadline = time.monotonic() + 20
        while not claude.requests:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        started = time.monotonic()
    assert time.monotonic() - started < 20
    connection.close()
