from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

from django_claude_batches import job_registry


@pytest.fixture
def pass_time() -> Iterator[Callable[[float], None]]:
    """Let so many seconds pass on the clock of this machine."""
    passed = [0.0]
    real = time.monotonic
    with mock.patch("time.monotonic", side_effect=lambda: real() + sum(passed)):
        yield passed.append


@pytest.fixture
def no_jobs() -> Iterator[None]:
    """Let no job be known but those that the test declares."""
    known = forgotten()
    yield
    forgotten()
    for each in known:
        job_registry.register(each)


def forgotten() -> list[Any]:
    """Forget all jobs, and give their classes."""
    known = [type(job_registry.find(name)) for name in job_registry.names()]
    for name in job_registry.names():
        job_registry.unregister(name)
    return known
