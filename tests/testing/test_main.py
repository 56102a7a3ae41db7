"""`python -m django_claude_batches.testing`, as a process."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from tests.testing.caller import BATCHES, call, create

pytestmark = pytest.mark.process
COMMAND = [sys.executable, "-W", "error", "-m", "django_claude_batches.testing"]


@contextlib.contextmanager
def running(*arguments):
    """Yield the command's process, and the arguments of `call` to reach it."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*COMMAND, "--port", "0", *arguments], text=True, **pipes) as process:
        try:
            yield process, SimpleNamespace(url=process.stdout.readline().strip(), api_key="any-key")
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_and_exits_without_output(number):
    with running() as (process, claude):
        assert call(claude, "GET", BATCHES).status == 200
        guide = process.stdout.readline() + process.stdout.readline()
        process.send_signal(number)
        rest = process.communicate(timeout=20)
    assert (process.returncode, rest) == (0, ("", ""))
    assert f"export ANTHROPIC_BASE_URL={claude.url} ANTHROPIC_API_KEY=sk-ant-api03-" in guide


def test_batches_end_by_themselves():
    with running("--seconds", "1.5") as (_, claude):
        path = f"{BATCHES}/{create(claude, 'a')}"
        assert call(claude, "GET", path).json["processing_status"] == "in_progress"
        deadline = time.monotonic() + 20
        while call(claude, "GET", path).json["processing_status"] != "ended":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert call(claude, "GET", f"{path}/results").lines["a"]["type"] == "succeeded"


def test_any_key_is_taken_unless_one_is_given():
    with running("--api-key", "the-one") as (_, claude):
        assert call(claude, "GET", BATCHES).status == 401
        assert call(claude, "GET", BATCHES, x_api_key="the-one").status == 200


def test_a_port_that_is_taken_is_said_so():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"cannot serve on 127.0.0.1:{port}: ")
    assert done.stderr.count("\n") == 1


def test_an_invalid_port_is_refused():
    done = subprocess.run([*COMMAND, "--port", "70000"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert done.stderr.startswith("cannot serve on 127.0.0.1:70000: ")


def test_faults_are_scripted():
    faults = ["--fault", "overloaded@2-3:on=list", "--fault", "lost_answer@1", "--fault", "html@4:status=502,on=list"]
    with running(*faults) as (_, claude):
        assert [call(claude, "GET", BATCHES).status for _ in range(5)] == [200, 529, 529, 502, 200]
        with pytest.raises(ConnectionError):
            create(claude)
        assert len(call(claude, "GET", BATCHES).json["data"]) == 1


def test_an_unknown_fault_is_refused_with_the_known_ones():
    done = subprocess.run([*COMMAND, "--fault", "lost_anser@1"], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown fault 'lost_anser'. Did you mean lost_answer? There are: access_refused, " in done.stderr


def test_answers_are_bent():
    bends = ["--bend", "list@2:field=has_more,to=true", "--bend", "list@3-4:status=503", "--bend", "random@0%:seed=7"]
    with running(*bends) as (_, claude):
        answers = [call(claude, "GET", BATCHES) for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 503, 503, 200]
    assert [answer.json["has_more"] for answer in answers] == [False, True, False, False, False]


def test_an_unknown_bend_is_refused_with_the_known_ones():
    done = subprocess.run([*COMMAND, "--bend", "list:field=hasmore,to=1"], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the answer to list has no field 'hasmore'. Did you mean has_more? It has: data, " in done.stderr


def test_batches_that_never_end_by_themselves():
    with running("--seconds", "never") as (_, claude):
        path = f"{BATCHES}/{create(claude, 'a')}"
        assert call(claude, "POST", "/_emulator/pass_time", body={"seconds": 3600}).status == 200
        assert call(claude, "GET", path).json["processing_status"] == "in_progress"


def test_what_claude_answers_may_be_a_function_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "shop.py").write_text("def answer(params, custom_id): return {'id': custom_id}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with running("--seconds", "0", "--replies", "shop:answer") as (_, claude):
        path = f"{BATCHES}/{create(claude, 'a')}"
        assert call(claude, "GET", f"{path}/results").lines["a"]["message"]["content"][0]["text"] == '{"id": "a"}'


def test_an_exception_of_that_function_is_printed_and_affects_only_its_batch(tmp_path, monkeypatch):
    (tmp_path / "shop.py").write_text("def answer(params, custom_id): return {'a': 'yes'}[custom_id]")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with running("--seconds", "0", "--replies", "shop:answer") as (process, claude):
        good, bad = create(claude, "a"), create(claude, "b")
        assert call(claude, "GET", f"{BATCHES}/{bad}").error == (500, "api_error", "The emulator failed: KeyError: 'b'")
        assert call(claude, "GET", f"{BATCHES}/{good}/results").lines["a"]["type"] == "succeeded"
        assert call(claude, "POST", "/_emulator/finish", body={}).json == {"error": "'b'"}
        process.send_signal(signal.SIGTERM)
        _, printed = process.communicate(timeout=20)
    assert f"Batch {bad} cannot be processed" in printed
    assert printed.count("KeyError: 'b'") == 1


def test_a_host_is_allowed_to_steer():
    with running("--allow-host", "Claude.test:8788") as (_, claude):
        for host, status in (("claude.test:8788", 200), ("evil.test", 403)):
            assert call(claude, "GET", "/_emulator/ledger", host=host).status == status
    done = subprocess.run([*COMMAND, "--allow-host", ""], capture_output=True, text=True, timeout=20)
    assert (done.returncode, "argument --allow-host: invalid host_name value: ''" in done.stderr) == (2, True)


@pytest.mark.parametrize("name", ["nowhere:answer", "json:answer", "json"])
def test_an_unknown_replies_function_is_refused(name):
    done = subprocess.run([*COMMAND, "--replies", name], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"argument --replies: {name}: " in done.stderr


def test_a_seed_repeats_ids():
    ids = []
    for _ in range(2):
        with running("--seed", "7") as (_, claude):
            ids.append(create(claude))
    assert ids[0] == ids[1]


def test_the_state_outlives_the_process(tmp_path):
    state = ["--state", str(tmp_path / "state")]
    with running(*state) as (_, claude):
        batch_id = create(claude, "a")
    with running(*state) as (_, claude):
        assert call(claude, "GET", f"{BATCHES}/{batch_id}").status == 200


def test_a_state_file_that_cannot_be_written_is_reported(tmp_path):
    path = tmp_path / "nowhere" / "state"
    done = subprocess.run([*COMMAND, "--state", str(path)], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"cannot use {path}: ")


def test_the_help_names_the_faults():
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0
    assert "lost_answer" in done.stdout
