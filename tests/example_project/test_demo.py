"""`manage.py demo` with real processes, without services and terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.example_project.conftest import Run, Start
from tests.harness.factories import item

pytestmark = pytest.mark.process

# Seconds to wait for anything: the first poll of a batch is after about 30.
WITHIN = 90.0


def descendants(pid: int) -> set[int]:
    listed = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, listed.splitlines())}
    found, layer = set(), {pid}
    while layer:
        layer = {child for child, parent in parents.items() if parent in layer}
        found |= layer
    return found


def survivors(pids: set[int], *, within: float = 20.0) -> list[int]:
    """Return the processes that still run; killed ones may take a moment to end."""
    give_up_at = time.monotonic() + within
    while alive := [pid for pid in sorted(pids) if is_alive(pid)]:
        if time.monotonic() > give_up_at:
            break
        time.sleep(0.1)
    return alive


def is_alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return state != "" and not state.startswith("Z")


def until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    give_up_at = time.monotonic() + WITHIN
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up_at
        time.sleep(0.1)


def read_until(words: str, process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    out = ""
    for line in process.stdout:
        out += line
        if words in line:
            return out
    raise AssertionError(f"{words!r} never came: {out} {process.communicate()[1]}")


def write(path: Path, *requests: dict[str, object]) -> Path:
    path.write_text("\n".join(map(json.dumps, requests)))
    return path


def test_the_main_job_and_the_admin_kept_up_until_ctrl_c(start: Start, no_wait: None, tmp_path: Path) -> None:
    failing = item(2)
    del failing["params"]["messages"][0]["role"]
    path = write(tmp_path / "requests.jsonl", item(0), item(1), failing)
    with start("demo", "--input", path, "--serve", "--rows", "2", "--processes", "1") as demo:
        out = read_until("Log in as demo with the password", demo)
        processes = descendants(demo.pid)
        [address] = re.findall(
            r"In the admin: (http://127\.0\.0\.1:\d+/admin/)django_claude_batches/messagebatch/1/", out
        )
        with urllib.request.urlopen(f"{address}login/", timeout=10) as page:
            assert page.status == 200
        demo.send_signal(signal.SIGINT)
        _rest, err = demo.communicate(timeout=60)
    assert demo.returncode == 0, err
    assert err == ""
    for shown in (
        "Running at the emulator, 0 of 3 stored",
        "Complete, 3 of 3 stored",
        "Hello 1",
        "… and 1 more",
        "1 x errored: invalid_request_error: messages.0.role: Field required (such as r-2)",
        "2 succeeded, 1 errored",
        "Ledger: 3 requests, 3 results, 0 missing: balanced.",
    ):
        assert shown in out
    assert len(processes) >= 5  # emulator, worker and its pool, beat, web server
    assert survivors(processes) == []
    assert "Task django_claude_batches.advance" in (tmp_path / "var" / "worker.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_process(start: Start, run: Run, tmp_path: Path, number: signal.Signals) -> None:
    with start("demo") as demo:
        read_until("Being drafted, 0 of 79 delivered", demo)
        log = tmp_path / "var" / "worker.log"
        until(lambda: "ready." in log.read_text(), demo)
        processes = descendants(demo.pid)
        demo.send_signal(number)
        demo.send_signal(number)  # people press Ctrl-C twice
        out, err = demo.communicate(timeout=60)
    assert demo.returncode == 128 + number
    assert out.endswith("Stopped; all its processes have ended.\n")
    assert err == ""
    assert len(processes) >= 4
    assert survivors(processes) == []
    shown = json.loads(run("claude_batches", "status", "--json").stdout)["batches"]
    assert {batch["state"] for batch in shown} <= {"draft", "canceling"}
    code = "from django_claude_batches.models import JobRun; print(JobRun.objects.get().state)"
    state = run("shell", "-v", "0", "-c", code).stdout.strip()
    assert state in {"canceling", "canceled"}  # the worker may have handled the intent before it ended


def test_a_worker_that_dies_is_told_with_the_end_of_its_log(start: Start, tmp_path: Path) -> None:
    with start("demo") as demo:
        log = tmp_path / "var" / "worker.log"
        until(lambda: log.exists() and "ready." in log.read_text(), demo)
        processes = descendants(demo.pid)
        commands = subprocess.run(
            ["ps", "-ww", "-o", "pid=,ppid=,args=", "-p", ",".join(map(str, processes))], capture_output=True, text=True
        ).stdout.splitlines()
        [leader] = [line for line in commands if " worker " in line and line.split()[1] == str(demo.pid)]
        os.kill(int(leader.split()[0]), signal.SIGKILL)
        _out, err = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert f"The worker was ended by signal 9. The end of {log}:" in err
    assert "ready." in err
    assert "Traceback" not in err
    assert survivors(processes) == []


def test_a_key_is_not_used_unasked(run: Run) -> None:
    ran = run("demo", ANTHROPIC_API_KEY="sk-ant-canary")
    assert ran.returncode == 1
    assert "ANTHROPIC_API_KEY is set: this would send the requests to https://api.anthropic.com" in ran.stderr
    assert "Say --live if you mean that" in ran.stderr
    assert "canary" not in ran.stdout + ran.stderr
    elsewhere = run("demo", ANTHROPIC_API_KEY="sk-ant-canary", ANTHROPIC_BASE_URL="https://gateway.example")
    assert (elsewhere.returncode, "https://gateway.example" in elsewhere.stderr) == (1, True)


def test_live_needs_a_key(run: Run) -> None:
    ran = run("demo", "--live")
    assert ran.returncode == 1
    assert ran.stderr == "CommandError: --live needs a key: set ANTHROPIC_API_KEY.\n"


def test_a_run_with_a_key_does_not_send_what_others_queued(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "requests.jsonl", item(0))
    assert run("migrate", "-v0").returncode == 0
    queued = run("claude_batches", "draft", path, "--submit")
    assert queued.returncode == 0, queued.stderr
    ran = run("demo", ANTHROPIC_API_KEY="sk-ant-canary", ANTHROPIC_BASE_URL="http://127.0.0.1:1")
    assert ran.returncode == 1
    assert "Take them back first: manage.py claude_batches cancel 1" in ran.stderr
    assert run("claude_batches", "cancel", "1").returncode == 0
    started = run("claude_batches", "run", "tag-reviews")
    assert started.returncode == 0, started.stderr
    ran = run("demo", ANTHROPIC_API_KEY="sk-ant-canary", ANTHROPIC_BASE_URL="http://127.0.0.1:1")
    assert (ran.returncode, "Pause it first: manage.py claude_batches pause-run 1" in ran.stderr) == (1, True)


def test_a_bad_line_is_named_before_anything_starts(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "requests.jsonl", item(0), {"custom_id": "x"})
    ran = run("demo", "--input", path)
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"CommandError: {path}, line 2: ")
    assert ran.stderr.endswith("Nothing was drafted.\n")
    assert not (tmp_path / "var" / "worker.log").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--rows", "-1"], "--rows: -1: at least 1"),
        (["--requests", "0"], "--requests: 0: at least 1"),
        (["--timeout", "0"], "--timeout: more than 0 seconds."),
        (["--input", "absent.jsonl"], "--input absent.jsonl: No such file or directory"),
        (["--requests", "1", "--input", "absent.jsonl"], "a file of --input is sent whole."),
        (["--prompt", "Tag: {review}"], "give --input FILE.csv."),
        (["--admin", "--live"], "--admin sends nothing: leave out --input, --serve and --live."),
    ],
)
def test_arguments_are_checked_before_anything_starts(
    run: Run, tmp_path: Path, arguments: list[str], problem: str
) -> None:
    ran = run("demo", *arguments)
    assert ran.returncode != 0
    assert problem in ran.stderr
    assert not (tmp_path / "var" / "demo.lock").exists()


def test_what_an_earlier_demo_left_is_served_without_sending_anything(
    start: Start, no_wait: None, tmp_path: Path
) -> None:
    with start("demo", "--input", write(tmp_path / "requests.jsonl", item(0)), "--processes", "1") as demo:
        out, err = demo.communicate(timeout=WITHIN)
    assert demo.returncode == 0, err
    assert "Nothing was billed: the emulator answered." in out
    assert "Running at the emulator, 0 of 1 stored" in out
    assert "http://127.0.0.1:8000" not in out
    [command] = re.findall(r"^To see it in the admin: (.*)$", out, re.MULTILINE)
    assert command.split()[-2:] == ["demo", "--admin"]
    with start("demo", "--admin") as admin:
        shown = read_until("Log in as demo with the password", admin)
        processes = descendants(admin.pid)
        [address] = re.findall(r"In the admin: (http://\S+)", shown)
        with urllib.request.urlopen(f"{address}login/", timeout=10) as page:
            assert page.status == 200
        admin.send_signal(signal.SIGINT)
        _rest, err = admin.communicate(timeout=60)
    assert (admin.returncode, err) == (0, "")
    assert len(processes) == 1  # the web server
    assert survivors(processes) == []


def test_a_broker_or_a_database_that_does_not_answer(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        port = taken.getsockname()[1]
        broker = run("demo", REDIS_URL=f"redis://:canary@127.0.0.1:{port}/0")
        assert broker.returncode == 1
        assert broker.stderr.startswith(f"CommandError: The broker at redis://:**@127.0.0.1:{port}/0 does not answer: ")
    assert "canary" not in broker.stderr


def test_one_demo_at_a_time(start: Start, run: Run, tmp_path: Path) -> None:
    with start("demo") as demo:
        until((tmp_path / "var" / "beat.log").exists, demo)
        second = run("demo")
        demo.terminate()
        demo.communicate(timeout=60)
    assert second.returncode == 1
    assert "Another demo is running in" in second.stderr


def test_a_table_needs_a_prompt_of_its_columns(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text("review\nwarm\n")
    alone = run("demo", "--input", path)
    assert (alone.returncode, "needs --prompt" in alone.stderr) == (1, True)
    other = run("demo", "--input", path, "--prompt", "Tag: {colour}")
    assert other.returncode == 1
    assert "the prompt names a column 'colour', and the header has: review" in other.stderr
    assert not (tmp_path / "var" / "worker.log").exists()


def test_each_row_of_a_table_is_asked(start: Start, no_wait: None, tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text('review,n\n"Warm, and it does not itch.",1\nThin.,2\n')
    with start("demo", "--input", path, "--prompt", "Tag: {review} ({n})", "--processes", "1") as demo:
        out, err = demo.communicate(timeout=WITHIN)
    assert demo.returncode == 0, err
    assert "row-2" in out
    assert "Tag: Thin. (2)" in out
    assert "Ledger: 2 requests, 2 results, 0 missing: balanced." in out
