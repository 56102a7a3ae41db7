from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import DataError, OperationalError, connection

from django_claude_batches import services, tasks
from django_claude_batches.models import BatchUpload, MessageBatch, State, UploadState
from django_claude_batches.signals import batch_submitted
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, item, make_due, running
from tests.harness.selections import slow_but
from tests.management.conftest import Manage

ROOT = Path(__file__).parents[3]


@pytest.mark.django_db
def test_nothing_is_due(manage: Manage) -> None:
    assert manage("tick").out == "Advanced 0 batches; 0 failed.\n"


@pytest.mark.django_db
def test_what_is_due_is_done_here(manage: Manage, claude: ClaudeEmulator) -> None:
    one, two = services.submit(draft()), services.submit(draft())
    ran = manage("tick", "--json")
    assert ran.document == {"advanced": [one.pk, two.pk], "failed": []}
    assert set(MessageBatch.objects.values_list("state", flat=True)) == {State.IN_PROGRESS}


@pytest.mark.django_db
def test_an_error_of_one_batch_does_not_stop_the_others(manage: Manage, claude: ClaudeEmulator, settings: Any) -> None:
    settings.CLAUDE_BATCHES = {"ACCOUNTS": {"keyless": {}}, "KICK": False}
    bad, good = services.submit(draft(account="keyless")), services.submit(draft())
    ran = manage("tick", "--json")
    assert ran.code == 1
    assert f'#{bad.pk}: ConfigurationError: No API key for account "keyless"' in ran.err
    assert ran.document["advanced"] == [good.pk]
    assert [failed["id"] for failed in ran.document["failed"]] == [bad.pk]


@pytest.fixture
def terminate_when_one_was_sent() -> Iterator[None]:
    def terminate(**_kwargs: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    batch_submitted.connect(terminate)
    yield
    batch_submitted.disconnect(terminate)


@pytest.mark.django_db
@pytest.mark.usefixtures("terminate_when_one_was_sent")
def test_a_loop_finishes_the_batch_in_hand_and_no_other(manage: Manage, claude: ClaudeEmulator) -> None:
    one, two = services.submit(draft()), services.submit(draft())
    before = signal.getsignal(signal.SIGTERM)
    ran = manage("tick", "--loop", "--json")
    assert (ran.code, ran.document["advanced"]) == (0, [one.pk])
    assert [MessageBatch.objects.get(pk=batch.pk).state for batch in (one, two)] == [State.IN_PROGRESS, State.QUEUED]
    assert signal.getsignal(signal.SIGTERM) == before


def failing(part: str, error: Exception, *, signal_number: int | None = None) -> Callable[..., Any]:
    """Let each statement that holds `part` fail; with `signal_number`, this process gets that signal, too."""

    def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if part not in sql:
            return execute(sql, params, many, context)
        if signal_number is not None:
            os.kill(os.getpid(), signal_number)
        raise error

    return fail


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("terminate_when_one_was_sent")
@pytest.mark.parametrize(
    "error", slow_but(2, [RuntimeError("a defect"), DataError("a value"), MemoryError(), RecursionError()])
)
def test_an_error_in_one_step_keeps_no_other_from_being_done(
    manage: Manage, claude: ClaudeEmulator, error: Exception
) -> None:
    batch = services.submit(draft())
    with connection.execute_wrapper(failing("_jobrun", error)):
        ran = manage("tick", "--loop", "--json")
    assert (ran.code, ran.document["advanced"]) == (0, [batch.pk])
    assert {"step": "runs", "error": str(error)} in ran.document["failed"]
    assert f"runs: {type(error).__name__}" in ran.err


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [RuntimeError("a defect"), OperationalError("gone"), MemoryError()])
def test_only_a_signal_ends_a_loop(manage: Manage, claude: ClaudeEmulator, error: Exception) -> None:
    services.submit(draft())
    with connection.execute_wrapper(failing("_messagebatch", error, signal_number=signal.SIGTERM)):
        ran = manage("tick", "--loop")
    assert ran.code == 0
    assert str(error) in ran.err


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("celery_in_this_process")
def test_the_task_does_each_step_too(claude: ClaudeEmulator) -> None:
    batch = running()
    make_due(batch)
    with connection.execute_wrapper(failing("_jobrun", RuntimeError("a defect"))), pytest.raises(RuntimeError):
        tasks.tick()
    assert claude.requests[-1].method == "GET"


@pytest.mark.process
def test_a_loop_as_a_process_moves_rows_and_ends_with_term(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
    }

    def manage(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=ROOT,
            env={**environment, **options.pop("env", {})},
            capture_output=True,
            timeout=60,
            **options,
        )

    assert manage("migrate", "-v0").returncode == 0
    with ClaudeEmulator(seconds=0) as claude:
        reach = {"ANTHROPIC_API_KEY": claude.api_key, "ANTHROPIC_BASE_URL": claude.url}
        drafted = manage("claude_batches", "draft", "-", "--submit", input=json.dumps(item(0)).encode())
        assert drafted.returncode == 0, drafted.stderr
        with subprocess.Popen(
            [sys.executable, "-m", "django", "claude_batches", "tick", "--loop"],
            cwd=ROOT,
            env={**environment, **reach},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as loop:
            try:
                give_up_at = time.monotonic() + 60
                while not claude.batches and time.monotonic() < give_up_at:
                    assert loop.poll() is None
                    time.sleep(0.05)
                loop.send_signal(signal.SIGTERM)
                out, err = loop.communicate(timeout=30)
            finally:
                loop.kill()
        assert loop.returncode == 0, err
        assert b"Advanced 1 batch; 0 failed." in out
        waited = manage("claude_batches", "wait", "1", "--timeout", "30", "--json", env=reach)
        assert (waited.returncode, json.loads(waited.stdout)["batches"][0]["state"]) == (0, "ingested"), waited.stderr


@pytest.mark.django_db
def test_uploaded_files_are_checked_and_drafted(manage: Manage) -> None:
    upload = BatchUpload.objects.store([json.dumps(item(0)).encode()], name="requests.jsonl")
    assert manage("tick", "--json").document == {"advanced": [], "failed": []}
    upload.refresh_from_db()
    services.confirm_upload(upload)
    manage("tick")
    assert MessageBatch.objects.get().request_count == 1


@pytest.mark.django_db
def test_an_error_about_a_file_is_told_and_stops_nothing(manage: Manage) -> None:
    broken, good = (BatchUpload.objects.store([json.dumps(item(0)).encode()], name="a.jsonl") for _ in range(2))

    def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "uploadpart" in sql and params[0] == broken.pk:
            raise OSError("the disk is gone")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(fail):
        ran = manage("tick", "--json")
    assert ran.code == 1
    assert f"File {broken.pk}: OSError: the disk is gone" in ran.err
    assert ran.document["failed"] == [{"file": broken.pk, "error": "the disk is gone"}]
    good.refresh_from_db()
    assert good.state == UploadState.READY
