from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.management.cli.output_file import written
from django_claude_batches.models import MessageBatch
from django_claude_batches.testing import ClaudeEmulator
from django_claude_batches.testing.emulator.replies import scripted
from django_claude_batches.testing.emulator.validation.params import Failure
from tests.harness.factories import draft, running
from tests.harness.selections import slow_but
from tests.management.conftest import Manage

ROOT = Path(__file__).parents[3]


@pytest.fixture
def batch(db: None) -> MessageBatch:
    """Three results; the second is an error."""
    with ClaudeEmulator(seed=1, replies=scripted({1: Failure()})) as claude:
        batch = running()
        claude.finish()
        return services.advance(batch)


def ids(data: bytes) -> list[str]:
    return [json.loads(line)["custom_id"] for line in data.splitlines()]


def test_jsonl_goes_to_standard_output(
    manage: Manage, batch: MessageBatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    ran = manage("export", batch.pk)
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert ids(capsysbinary.readouterr().out) == ["r-0", "r-1", "r-2"]


def test_a_file_is_written_whole_and_said(manage: Manage, batch: MessageBatch, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    ran = manage("export", batch.anthropic_id, "--output", path, terminal=True)
    assert (ran.code, ran.out) == (0, f"3 results of {batch} in {path}.\n")
    assert "3 results written" in ran.err
    assert ids(path.read_bytes()) == ["r-0", "r-1", "r-2"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_csv_with_columns_and_outcomes(manage: Manage, batch: MessageBatch, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    options = ("--format", "csv", "--columns", "custom_id, error_type", "--outcome", "errored", "expired")
    assert manage("export", batch.pk, *options, "--output", path).code == 0
    rows = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))
    assert rows == [["custom_id", "error_type"], ["r-1", "api_error"]]
    assert batch.events.get(what="exported").text == (
        "CSV, errored or expired, custom_id, error_type, on the command line"
    )


@pytest.mark.parametrize(
    ("options", "expected", "told"),
    slow_but(
        2,
        [
            (["--error-type", "api_error", "none"], ["r-1"], "all results, error type api_error or none"),
            (["--error-type", "none"], [], "all results, error type none"),
            (["--of-another-tier"], ["r-2"], "all results, of another tier"),
            (["--search", "r-0"], ["r-0"], "all results, custom_id beginning with r-0"),
            (["--outcome", "succeeded", "--search", "r"], ["r-0", "r-2"], "succeeded, custom_id beginning with r"),
        ],
    ),
)
def test_it_is_narrowed_as_the_list_in_the_admin_is(
    manage: Manage, batch: MessageBatch, tmp_path: Path, options: list[str], expected: list[str], told: str
) -> None:
    batch.results.filter(custom_id="r-2").update(service_tier="standard")
    path = tmp_path / "out.jsonl"
    assert manage("export", batch.pk, *options, "--output", path).code == 0
    assert ids(path.read_bytes()) == expected
    assert batch.events.get(what="exported").text == f"JSONL, {told}, on the command line"


def test_json(manage: Manage, batch: MessageBatch, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    assert manage("export", batch.pk, "--json", "--output", path).document == {
        "id": batch.pk,
        "state": "ingested",
        "missing_count": 0,
        "format": "jsonl",
        "output": str(path),
        "rows": 3,
        "left_out": 0,
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    slow_but(
        2,
        [
            (["--json"], "only with --output FILE"),
            (["--columns", "text"], "only with --format csv"),
            (["--format", "csv", "--columns", "txt"], "'txt' is no column: batch, custom_id, "),
            (["--format", "csv", "--columns", ""], "'' is no column"),
            (["--outcome", "missing"], "invalid choice: 'missing'"),
        ],
    ),
)
def test_wrong_usage_writes_nothing(manage: Manage, batch: MessageBatch, arguments: list[str], said: str) -> None:
    ran = manage("export", batch.pk, *arguments)
    assert ran.code in (1, 2)  # argparse's own errors are 2 in a shell
    assert said in ran.err
    assert not batch.events.filter(what="exported").exists()


def test_a_file_that_is_there_stays_unless_forced(manage: Manage, batch: MessageBatch, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("mine")
    ran = manage("export", batch.pk, "--output", path)
    assert (ran.code, path.read_text()) == (1, "mine")
    assert ran.err == f"{path} is there already. Nothing was written: --force replaces it."
    assert not batch.events.filter(what="exported").exists()
    assert manage("export", batch.pk, "--output", path, "--force").code == 0
    assert len(ids(path.read_bytes())) == 3
    ran = manage("export", batch.pk, "--output", tmp_path, "--force")
    assert (ran.code, ran.err) == (1, f"{tmp_path} is a directory. Nothing was written.")


def test_a_folder_that_is_not_there(manage: Manage, batch: MessageBatch, tmp_path: Path) -> None:
    ran = manage("export", batch.pk, "--output", tmp_path / "none" / "out.jsonl")
    assert (ran.code, "No such file or directory" in ran.err) == (1, True)


@pytest.mark.parametrize("there", [True, False])
def test_a_broken_export_leaves_no_half_of_a_file(tmp_path: Path, there: bool) -> None:
    path = tmp_path / "out.jsonl"
    if there:
        path.write_bytes(b"before")

    def break_off() -> None:
        with written(str(path), replace=True) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert [found.read_bytes() for found in tmp_path.iterdir()] == [b"before"] * there


def test_a_file_that_came_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"

    def write() -> None:
        with written(str(path), replace=False) as file:
            file.write(b"ours")
            path.write_bytes(b"theirs")

    with pytest.raises(CommandError, match="is there already"):
        write()
    assert [found.read_bytes() for found in tmp_path.iterdir()] == [b"theirs"]


def test_what_is_not_in_the_file_is_said(manage: Manage, batch: MessageBatch, tmp_path: Path) -> None:
    batch.results.filter(custom_id="r-0").update(message=None)
    MessageBatch.objects.update(result_purge_began_at=timezone.now(), missing_count=1)
    ran = manage("export", batch.pk, "--output", tmp_path / "out.jsonl")
    assert (ran.code, len(ids((tmp_path / "out.jsonl").read_bytes()))) == (0, 1)
    assert f"Not all results are here. #{batch.pk}" in ran.err
    assert "were purged. Purged on" in ran.err
    assert ran.err.endswith("Left out, because they were purged: 2 results.\n")


def test_a_batch_without_results_says_so(manage: Manage, db: None, tmp_path: Path) -> None:
    ran = manage("export", draft().pk, "--output", tmp_path / "out.jsonl")
    assert (ran.code, (tmp_path / "out.jsonl").read_bytes()) == (0, b"")
    assert "Not all results are here." in ran.err


def test_a_batch_that_there_is_not(manage: Manage, db: None) -> None:
    ran = manage("export", 4711)
    assert (ran.code, ran.err) == (1, "There is no batch #4711. See `claude_batches status`.")


PREPARE = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django_claude_batches.models import BatchResult
from tests.harness.factories import draft
batch = draft(int(__import__("sys").argv[1]))
message = {"content": [{"type": "text", "text": "x" * 2000}]}
BatchResult.objects.bulk_create(
    BatchResult(batch=batch, request_id=pk, custom_id=custom_id, result_type="succeeded", message=message)
    for pk, custom_id in batch.requests.values_list("pk", "custom_id")
)
"""

MEASURED = """
import sys
import django
django.setup()
from django.core.management import call_command
from tests.harness.memory import peak_mb
call_command("claude_batches", "status", "1", stdout=open("/dev/null", "w"), no_color=True)
before = peak_mb()
for format in ("jsonl", "csv"):
    call_command("claude_batches", "export", "1", "--format", format, "--output", sys.argv[1], "--force", "--json")
print(peak_mb() - before, file=sys.stderr)
"""


def python(database: Path, *command: str, **options: Any) -> subprocess.Popen[Any]:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": f"sqlite:///{database}"}
    return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, **options)


@pytest.mark.process
@pytest.mark.timeout(300)
def test_memory_does_not_grow_with_the_batch_and_a_reader_may_leave(tmp_path: Path) -> None:
    grown = {}
    for count in (2_000, 20_000):
        database = tmp_path / f"{count}.sqlite3"
        assert python(database, "-c", PREPARE, str(count)).wait(timeout=120) == 0
        out = str(tmp_path / str(count))
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        with python(database, "-c", MEASURED, out, **pipes) as measured:
            grown[count] = float(measured.communicate(timeout=120)[1].splitlines()[-1])
        assert Path(out).stat().st_size > count * 2000
    assert grown[20_000] < grown[2_000] + 5  # MB

    reading = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with python(database, "-m", "django", "claude_batches", "export", "1", **reading) as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        assert json.loads(ran.stdout.readline())["custom_id"] == "r-0"
        ran.stdout.close()
        assert ran.wait(timeout=60) == 1
        errors = ran.stderr.read().decode().splitlines()
    assert errors[-1] == "CommandError: Standard output was closed: the export ended early."
    assert not [line for line in errors if "Traceback" in line or "Exception ignored" in line]


def test_a_file_is_its_owners(manage: Manage, batch: MessageBatch, tmp_path: Path) -> None:
    """Also one that replaces a file that others may read, with any umask."""
    path = tmp_path / "out.jsonl"
    path.touch(mode=0o644)
    before = os.umask(0)
    try:
        manage("export", batch.pk, "--output", path, "--force")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_a_person_looks_at_is_printable(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    data = 'a,"\x1b[2J\x9b31m Grüße"\r\nb,c\r\n'.encode()
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(out, "isatty", lambda: is_terminal, raising=False)
    monkeypatch.setattr(sys, "stdout", out)
    with written("-", replace=False) as file:
        file.write(data)
    shown = out.buffer.getvalue()  # type: ignore[attr-defined]
    assert shown == ('a,"\\u001b[2J\\u009b31m Grüße"\nb,c\n'.encode() if is_terminal else data)


@pytest.mark.django_db
def test_the_columns_of_a_file_come_back(manage: Manage, tmp_path: Path) -> None:
    table, out = tmp_path / "tickets.csv", tmp_path / "out.csv"
    table.write_bytes(b'No;text\r\nT 1;=1+1\r\nT-2;"two\nlines"\r\n')
    drafted = manage("draft", table, "--prompt", "{text}", "--model", "claude-haiku-4-5", "--name-by", "no", "--submit")
    batch = MessageBatch.objects.get()
    assert (drafted.code, batch.cells_header) == (0, ["No", "text"])
    with ClaudeEmulator(seed=1, replies=scripted({0: "- a\n- b"})) as claude:
        services.advance(batch)
        claude.finish()
        services.advance(batch)
    options = ("--format", "csv", "--output", out, "--force", "--columns", "custom_id,cells,text")
    assert manage("export", batch.pk, *options, "--keep-formulas").code == 0
    _header, *rows = csv.reader(io.StringIO(out.read_text("utf-8-sig"), newline=""))
    assert [row[:3] for row in rows] == [["T-1-2", "T 1", "=1+1"], ["T-2", "T-2", "two\nlines"]]
    assert manage("export", batch.pk, *options).code == 0
    header, first, _second = csv.reader(io.StringIO(out.read_text("utf-8-sig"), newline=""))
    assert header == ["custom_id", "No", "text", "claude_text"]
    assert first == ["T-1-2", "T 1", "'=1+1", "'- a\n- b"]


@pytest.mark.django_db
def test_a_table_may_be_drafted_without_its_cells(manage: Manage, tmp_path: Path) -> None:
    table = tmp_path / "tickets.csv"
    table.write_text("text\nwarm\n")
    assert manage("draft", table, "--prompt", "{text}", "--model", "claude-haiku-4-5", "--without-cells").code == 0
    assert MessageBatch.objects.get().cells_header == []


def test_formulas_are_a_matter_of_csv(manage: Manage, batch: MessageBatch) -> None:
    ran = manage("export", batch.pk, "--keep-formulas")
    assert (ran.code, "only with --format csv" in ran.err) == (2, True)


def test_options_of_a_table_need_a_prompt(manage: Manage, tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text("{}\n")
    for option in (["--name-by", "a"], ["--without-cells"]):
        ran = manage("draft", path, *option)
        assert (ran.code, f"{option[0]} is for CSV files" in ran.err) == (1, True)
