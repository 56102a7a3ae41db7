"""`ClaudeEmulator` as a context manager, and its methods."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from django_claude_batches.testing import ClaudeEmulator
from tests.testing.caller import BATCHES, call, create

VARIABLES = ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY")


def environment():
    return [os.environ.get(name) for name in VARIABLES]


def test_the_environment_points_at_it_while_entered(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "https://before.example")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with ClaudeEmulator() as claude:
        assert environment() == [claude.url, claude.api_key]
    assert environment() == ["https://before.example", None]


def test_the_environment_is_restored_after_an_error(monkeypatch):
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)
    with pytest.raises(ZeroDivisionError), ClaudeEmulator():
        raise ZeroDivisionError
    assert "ANTHROPIC_BASE_URL" not in os.environ


def test_two_at_once_and_one_within_the_other():
    with ClaudeEmulator() as outer:
        with ClaudeEmulator() as inner:
            assert environment() == [inner.url, inner.api_key]
            create(inner)
        assert environment() == [outer.url, outer.api_key]
        assert (len(outer.batches), len(inner.batches)) == (0, 1)


def test_entering_twice_is_an_error():
    with ClaudeEmulator() as claude, pytest.raises(RuntimeError, match="already entered, at http://127"):
        claude.__enter__()


def test_it_serves_only_while_entered():
    with pytest.raises(RuntimeError, match="only while entered"):
        _ = ClaudeEmulator().url


def test_entering_again_keeps_the_batches():
    claude = ClaudeEmulator()
    with claude:
        batch_id = create(claude)
    claude.finish()
    with claude:
        batch = call(claude, "GET", f"{BATCHES}/{batch_id}").json
    assert batch["processing_status"] == "ended"
    assert [request.method for request in claude.requests] == ["POST", "GET"]


def test_a_port_that_is_taken(monkeypatch):
    with ClaudeEmulator() as claude:
        port = int(claude.url.rpartition(":")[2])
        before = environment()
        second = ClaudeEmulator(port=port)
        with pytest.raises(OSError, match="in use"):
            second.__enter__()
        assert environment() == before
    with second:
        assert second.url.endswith(f":{port}")


def test_keys_are_shaped_like_keys():
    with ClaudeEmulator() as claude, ClaudeEmulator(api_key="mine") as second:
        assert re.fullmatch(r"sk-ant-api03-[\w-]{95}", claude.api_key)
        assert claude.workspace_id.startswith("wrkspc_01")
        assert second.api_key == "mine"
        assert call(second, "GET", BATCHES, x_api_key=claude.api_key).status == 401


def test_any_key():
    with ClaudeEmulator(any_key=True) as claude:
        create(claude)
        assert len(call(claude, "GET", BATCHES, x_api_key="whatever").json["data"]) == 1
        assert call(claude, "GET", BATCHES, x_api_key="").status == 401


def test_another_key_of_the_same_workspace():
    with ClaudeEmulator() as claude:
        create(claude)
        claude.add_key("second")
        assert len(call(claude, "GET", BATCHES, x_api_key="second").json["data"]) == 1


def test_a_seed_repeats_key_and_ids():
    def story():
        with ClaudeEmulator(seed=7) as claude:
            return claude.api_key, claude.workspace_id, create(claude), create(claude)

    assert story() == story()


def test_batches_are_snapshots():
    with ClaudeEmulator() as claude:
        first, second = create(claude, "a", "b"), create(claude)
        before = claude.batches
        claude.finish(second)
        call(claude, "DELETE", f"{BATCHES}/{second}")
        after = claude.batches
    assert [batch.id for batch in after] == [first, second]
    assert [batch.deleted for batch in after] == [False, True]
    assert [batch.processing_status for batch in before] == ["in_progress", "in_progress"]
    assert (before[0].custom_ids, before[0].workspace_id, before[0].betas) == (["a", "b"], claude.workspace_id, ())
    assert before[0].requests[1]["params"]["model"] == "claude-haiku-4-5"
    with pytest.raises(dataclasses.FrozenInstanceError):
        before[0].id = "x"


def test_finish_takes_all_or_one():
    with ClaudeEmulator() as claude:
        ids = [create(claude) for _ in range(3)]
        claude.finish(ids[1])
        assert [batch.processing_status for batch in claude.batches] == ["in_progress", "ended", "in_progress"]
        claude.finish()
        assert {batch.processing_status for batch in claude.batches} == {"ended"}


def test_the_clock_is_real_until_time_passes():
    claude = ClaudeEmulator()
    assert abs(claude.now() - datetime.now(UTC)) < timedelta(seconds=5)
    claude.pass_time(3600)
    assert timedelta(minutes=59) < claude.now() - datetime.now(UTC) < timedelta(minutes=61)


def test_importing_it_loads_nothing_but_the_standard_library():
    script = (
        "import sys, django_claude_batches.testing;"
        "loaded = {name.partition('.')[0] for name in sys.modules};"
        "print(loaded & {'django', 'celery', 'requests', 'pytest', 'anthropic'})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
