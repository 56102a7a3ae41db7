"""Fixtures: an emulator, and one with an ended batch of four lines to download."""

from __future__ import annotations

import pytest

from tests.testing.caller import BATCHES, call, create


@pytest.fixture
def claude(claude_emulator):
    return claude_emulator


@pytest.fixture
def batch_id(claude):
    batch_id = create(claude, "a", "b", "c", "d")
    claude.finish()
    return batch_id


@pytest.fixture
def download(claude, batch_id):
    return lambda: call(claude, "GET", f"{BATCHES}/{batch_id}/results")
