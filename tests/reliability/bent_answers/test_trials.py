"""A few seeds; many are a command, `python -m tests.reliability.bent_answers --minutes 10`."""

from __future__ import annotations

import pytest

from .trial import Seen, try_seed

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def test_a_short_trial() -> None:
    seen = Seen()
    assert try_seed(8, seen, rounds=2) == []
    assert seen.bent
    assert seen.results


@pytest.mark.slow
@pytest.mark.parametrize("seed", [8, 9, 11, 15])
def test_a_trial(seed: int) -> None:
    """Seeds that found violations in an earlier version of the package."""
    assert try_seed(seed, Seen()) == []
