from __future__ import annotations

from pathlib import Path

import pytest

from tests.example_project.conftest import Run

pytestmark = pytest.mark.process


def test_the_sketch_goes_from_reviews_to_tags(run: Run) -> None:
    script = (Path(__file__).parent / "round_trip.py").read_text()
    ran = run("shell", "-v", "0", "-c", script, ANTHROPIC_API_KEY="any", PYTHONWARNINGS="error")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "round trip done\n"


@pytest.mark.parametrize(
    "arguments", [("makemigrations", "--check", "--dry-run"), ("check", "--fail-level", "WARNING")]
)
def test_the_project_is_sound(run: Run, arguments: tuple[str, ...]) -> None:
    ran = run(*arguments, PYTHONWARNINGS="error")
    assert ran.returncode == 0, ran.stdout + ran.stderr
