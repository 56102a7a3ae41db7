"""`EmulatorProcess`: controlled over HTTP, killed, and started again."""

from __future__ import annotations

import os
import threading
import time

import pytest

from django_claude_batches.testing import Bend, EmulatorProcess, RandomBends
from tests.testing.caller import BATCHES, call, create

pytestmark = pytest.mark.process


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.jsonl"


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_steering():
    environment = dict(os.environ)
    with EmulatorProcess() as claude:
        batch_id = create(claude, "t_a")
        stranger = claude.add_stranger(1)
        claude.finish(batch_id)
        claude.expire(stranger)
        claude.archive(stranger)
        claude.pass_time(60)
        claude.fault("overloaded", times=2, on="list")
        assert call(claude, "GET", BATCHES).status == 529
        claude.clear_faults()
        assert call(claude, "GET", BATCHES).status == 200
        ledger = claude.ledger()
        with pytest.raises(ValueError, match="unknown fault 'x'"):
            claude.fault("x")
    assert [batch["processing_status"] for batch in ledger["batches"]] == ["ended", "ended"]
    assert ledger["batches_by_tag"] == {"t": 1}
    assert dict(os.environ) == environment
    assert claude.pid is None


def test_bends():
    bend = Bend(endpoint=("list", "retrieve"), field="request_counts.processing", to=None)
    with EmulatorProcess() as claude:
        create(claude, "t_a")
        claude.bend(bend)
        claude.bend(RandomBends(share=0, spare=("create:status=*",)))
        assert call(claude, "GET", BATCHES).json["data"][0]["request_counts"]["processing"] is None
        claude.unbend(bend)
        assert call(claude, "GET", BATCHES).json["data"][0]["request_counts"]["processing"] == 1
        with pytest.raises(ValueError, match="no such bend was scripted"):
            claude.unbend(bend)
        with pytest.raises(ValueError, match="share is 0 to 1"):
            claude.bend(RandomBends(share=2))


def test_a_kill_while_a_create_call_waits_for_its_answer(path):
    """SIGKILL between creation and answer: the client gets no answer, and the batch exists."""
    with EmulatorProcess("--fault", "slow_answer@1:on=create,delay=600", state=path) as claude:
        failures = []

        def ask():
            with pytest.raises(ConnectionError) as caught:
                create(claude, "t_a", "t_b")
            failures.append(caught.value)

        asking = threading.Thread(target=ask)
        asking.start()
        wait_for(lambda: claude.ledger()["creates"])
        claude.kill()
        asking.join(timeout=20)
        assert len(failures) == 1
        claude.start()
        ledger = claude.ledger()
        (batch,) = ledger["batches"]
        assert (batch["tag"], batch["request_count"]) == ("t", 2)
        assert [each["batch_id"] for each in ledger["creates"]] == [batch["id"]]
        assert call(claude, "GET", f"{BATCHES}/{batch['id']}").status == 200


def test_kills_after_the_answer(path):
    with EmulatorProcess(state=path) as claude:
        url, pid = claude.url, claude.pid
        batch_id = create(claude, "t_a", "t_b", "t_c")
        claude.restart()
        assert (claude.url, claude.pid == pid) == (url, False)
        claude.finish()
        claude.restart()
        body = call(claude, "GET", f"{BATCHES}/{batch_id}/results").body
        claude.pass_time(7200)
        before = claude.ledger()
        claude.restart()
        after = claude.ledger()
        assert after.pop("now") > before.pop("now")
        assert after == before
        assert call(claude, "GET", f"{BATCHES}/{batch_id}/results").body == body
        assert before["batches_by_tag"] == {"t": 1}
        assert [len(each["custom_ids"]) for each in before["downloads"]] == [3]


def test_kills_in_a_storm_of_create_calls(path):
    """Whenever the process is killed, each answered call has one batch, and no batch exists without a call."""
    answered, sent = {}, []

    def send(worker):
        for number in range(1000):
            tag = f"w{worker}n{number}"
            sent.append(tag)
            try:
                answered[tag] = create(claude, f"{tag}_a", system="x" * 50_000)
            except (OSError, ValueError):
                return

    with EmulatorProcess(state=path) as claude:
        for run in range(3):
            workers = [threading.Thread(target=send, args=(f"{run}{n}",)) for n in range(4)]
            for worker in workers:
                worker.start()
            goal = 20 * (run + 1)
            wait_for(lambda goal=goal: len(answered) >= goal)
            claude.kill()
            for worker in workers:
                worker.join(timeout=20)
            claude.start()
        there = claude.ledger()["batches"]
    by_tag = {batch["tag"]: batch["id"] for batch in there}
    assert len(by_tag) == len(there)
    assert answered.items() <= by_tag.items()
    assert by_tag.keys() <= set(sent)


def test_without_a_file_the_state_is_lost():
    with EmulatorProcess() as claude:
        create(claude)
        claude.restart()
        assert claude.ledger()["batches"] == []


def test_a_process_that_cannot_start_is_reported(tmp_path):
    (tmp_path / "state").write_text("no journal\n")
    with pytest.raises(RuntimeError, match=r"the emulator did not start: cannot use .*state, line 1 is not an entry"):
        EmulatorProcess(state=tmp_path / "state").start()
    with pytest.raises(RuntimeError, match="unknown fault 'x'"):
        EmulatorProcess("--fault", "x@1").start()


def test_killing_twice_is_harmless():
    with EmulatorProcess() as claude:
        claude.kill()
        claude.kill()
