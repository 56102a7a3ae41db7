from __future__ import annotations

import subprocess
import sys

import pytest

from tests.benchmarks.bench import ROOT


@pytest.mark.process
@pytest.mark.timeout(300)
def test_it_prints_a_table_of_ours_the_limit_and_the_peer() -> None:
    """With so few requests ratios mean nothing; the other subjects run in test_ratios."""
    command = [sys.executable, "-m", "tests.benchmarks", "draft", "--n", "30", "--rounds", "1"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    rows = [line.strip("| ").split(" | ") for line in ran.stdout.splitlines() if line.startswith("| ")]
    assert [row[:2] for row in rows[2:]] == [["draft", "ours"], ["draft", "limit"], ["draft", "peer"]]
