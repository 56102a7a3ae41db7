from __future__ import annotations

import subprocess
import sys

import pytest

from tests.benchmarks.bench import ROOT


@pytest.mark.process
def test_it_prints_a_table_of_ours_the_limit_and_the_peer() -> None:
    """With so few requests no ratio is one, but every step of ours and of the peer does what it is measured for."""
    command = [sys.executable, "-m", "tests.benchmarks", "ingest", "--n", "30", "--rounds", "1"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)
    assert ran.returncode == 0, ran.stderr
    rows = [line.strip("| ").split(" | ") for line in ran.stdout.splitlines() if line.startswith("| ")]
    steps = {(step, way) for step, way, *_figures in rows[2:]}
    both = {(step, way) for step in ("draft", "submit", "ingest") for way in ("ours", "limit", "peer")}
    assert steps == both | {("resume", "ours"), ("ingest", "bulk_create(1000)")}
