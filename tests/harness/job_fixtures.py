from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

from django_claude_batches import job_registry


@pytest.fixture
def pass_time() -> Iterator[Callable[[float], None]]:
    """Advance the clock of this process by this number of seconds."""
    passed = [0.0]
    real = time.monotonic
    with mock.patch("time.monotonic", side_effect=lambda: real() + sum(passed)):
        yield passed.append


@pytest.fixture(autouse=True)
def jobs_of_one_test() -> Iterator[None]:
    """Unregister the jobs of a test after it: checks warn of jobs, and other tests compare all warnings."""
    known = registered()
    yield
    forget_all()
    for each in known:
        job_registry.register(each)


@pytest.fixture
def no_jobs(jobs_of_one_test: None) -> None:
    """Unregister all jobs that the test does not declare."""
    forget_all()


def registered() -> list[Any]:
    """Return the classes of all known jobs."""
    return [type(job_registry.find(name)) for name in job_registry.names()]


def forget_all() -> None:
    for name in job_registry.names():
        job_registry.unregister(name)
