"""Faults in MessageBatch objects."""

from __future__ import annotations

import pytest

from tests.testing.caller import BATCHES, call, create


@pytest.fixture(params=["retrieve", "list"])
def seen(claude, batch_id, request):
    """Return the batch from one of the two calls."""

    def look():
        if request.param == "retrieve":
            return call(claude, "GET", f"{BATCHES}/{batch_id}").json
        return call(claude, "GET", BATCHES).json["data"][0]

    return look


def test_foreign_results_url(claude, batch_id, seen):
    claude.fault("foreign_results_url")
    path = f"{BATCHES}/{batch_id}/results"
    assert [seen()["results_url"] for _ in range(2)] == [f"http://elsewhere.invalid{path}", f"{claude.url}{path}"]


def test_a_foreign_results_url_is_of_ended_batches_only(claude):
    claude.fault("foreign_results_url", to="http://127.0.0.2")
    assert call(claude, "GET", f"{BATCHES}/{create(claude)}").json["results_url"] is None


def test_wrong_counts(claude, seen):
    claude.fault("wrong_counts")
    claude.fault("wrong_counts", at=2, succeeded=-1, errored=1)
    shown = [seen()["request_counts"] for _ in range(3)]
    assert [counts["succeeded"] for counts in shown] == [5, 3, 4]
    assert [sum(counts.values()) for counts in shown] == [5, 4, 4]


def test_unknown_status(claude, seen):
    claude.fault("unknown_status")
    claude.fault("unknown_status", at=2, status="resting")
    assert [seen()["processing_status"] for _ in range(3)] == ["paused", "resting", "ended"]


def test_a_refusal_stays_one(claude):
    claude.fault("wrong_counts", times=None)
    assert call(claude, "GET", f"{BATCHES}/msgbatch_x").status == 404
