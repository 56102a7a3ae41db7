"""Listings that lack entries, or have another order."""

from __future__ import annotations

import pytest

from django_claude_batches.testing import ClaudeEmulator
from tests.testing.caller import BATCHES, call, create


@pytest.fixture
def claude():
    """An emulator with a seed: one draw in a thousand omits no entry of ten."""
    with ClaudeEmulator(seed=1) as emulator:
        yield emulator


@pytest.fixture
def batch_ids(claude):
    """Ten batches, oldest first, a minute between two."""
    made = []
    for _ in range(10):
        made.append(create(claude))
        claude.pass_time(60)
    return made


def listed(claude):
    page = call(claude, "GET", BATCHES).json
    ids = [batch["id"] for batch in page["data"]]
    assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
    return ids


def test_delayed_listing(claude, batch_ids):
    claude.fault("delayed_listing", seconds=150, times=None)
    assert listed(claude) == batch_ids[:8][::-1]
    claude.pass_time(60)
    assert listed(claude) == batch_ids[:9][::-1]


def test_empty_listing(claude, batch_ids):
    claude.fault("empty_listing")
    assert [len(listed(claude)) for _ in range(2)] == [0, 10]


def test_short_listing(claude, batch_ids):
    claude.fault("short_listing", times=None)
    first, second = listed(claude), listed(claude)
    assert 0 < len(first) < 10
    assert first != second
    assert first == [id_ for id_ in batch_ids[::-1] if id_ in first]


def test_short_listing_by_a_share(claude, batch_ids):
    claude.fault("short_listing", missing=1)
    assert listed(claude) == []


def test_reordered_listing(claude, batch_ids):
    claude.fault("reordered_listing")
    ids = listed(claude)
    assert ids != batch_ids[::-1]
    assert sorted(ids) == sorted(batch_ids)
