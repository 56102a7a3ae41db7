"""A large table, from its upload to its draft, in a process whose memory is watched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ROWS = 20_000
MOST = 30
"""MB above what one row takes. The table has 40 MB, of which a few chunks are held at a time: about 11 MB."""

CODE = f"""
import django
django.setup()
from django.core.management import call_command
from django_claude_batches.services.uploads.prepare import prepare
from django_claude_batches import services
from django_claude_batches.models import BatchUpload, MessageBatch
from tests.harness.memory import peak_mb

def table():
    yield b"review,n\\n"
    for number in range({ROWS}):
        yield b"%s,%d\\n" % (b"warm " * 400, number)

call_command("migrate", verbosity=0)
small = BatchUpload.objects.store([b"review\\nwarm\\n"], name="a.csv", prompt="{{review}}", model="m")
prepare(services.confirm_upload(prepare(small)))
before = peak_mb()
upload = BatchUpload.objects.store(table(), name="reviews.csv", prompt="Tag: {{review}}", model="claude-haiku-4-5")
prepare(services.confirm_upload(prepare(upload)))
batch = MessageBatch.objects.latest("pk")
print(upload.state, batch.request_count, peak_mb() - before)
"""


@pytest.mark.process
def test_twenty_thousand_rows_in_constant_memory(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
    }
    ran = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100
    )
    assert ran.returncode == 0, ran.stderr
    state, count, megabytes = ran.stdout.split()
    assert (state, int(count)) == ("drafted", ROWS)
    assert float(megabytes) < MOST, f"{megabytes} MB"
