from __future__ import annotations

import signal
from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

import pytest
from celery import current_app
from django.contrib.contenttypes.models import ContentType
from hypothesis import settings as examples

from django_claude_batches.models import MessageBatch
from django_claude_batches.testing import ClaudeEmulator
from tests.harness import requirements, selections
from tests.harness.factories import draft
from tests.harness.job_fixtures import jobs_of_one_test, no_jobs, pass_time  # noqa: F401 (fixtures)
from tests.harness.selections import pytest_collection_modifyitems, pytest_unconfigure, pytest_xdist_auto_num_workers  # noqa: F401 (hooks of pytest's)

GATE = pytest.StashKey[requirements.Gate]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--services",
        choices=(requirements.NONE, requirements.PROBE, requirements.REQUIRE),
        help="tests that need a server: skip them all (none), skip them where it does not answer (probe), or fail "
        "there (require). Default: require with CI set, else probe",
    )
    parser.addoption("--trials", type=int, default=1, help="how often each fault of tests/reliability is tried")


def pytest_configure(config: pytest.Config) -> None:
    selections.choose(config)
    examples.register_profile("ours", deadline=None)  # a slow machine is not a failure
    examples.load_profile("ours")
    config.stash[GATE] = requirements.Gate(requirements.policy(config.getoption("--services")))
    # Background processes of a shell ignore SIGINT, and so do their children; some tests send SIGINT.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    item.config.stash[GATE].pass_or_skip(item)


@pytest.fixture
def claude() -> Iterator[ClaudeEmulator]:
    with ClaudeEmulator(seed=1) as emulator:
        yield emulator


@pytest.fixture
def batch(db: None) -> MessageBatch:
    """Return a draft of three requests."""
    return draft(3)


@pytest.fixture
def gone_model(db: None) -> Iterator[ContentType]:
    """Return the content type of a model that was removed from its app.

    Its primary key is reused after the rollback, so Django's cache must be cleared.
    """
    yield ContentType.objects.create(app_label="library", model="leaflet")
    ContentType.objects.clear_cache()


@pytest.fixture
def celery_in_this_process() -> Iterator[None]:
    """Execute Celery tasks at once, in this process."""
    before, current_app.conf.task_always_eager = current_app.conf.task_always_eager, True
    yield
    current_app.conf.task_always_eager = before


@pytest.fixture
def redis_url() -> str:
    """For tests marked `redis`."""
    return requirements.BY_MARKER["redis"].url


@pytest.fixture
def quick() -> Iterator[list[float]]:
    """Record the pauses before retries instead of sleeping."""
    pauses: list[float] = []
    with mock.patch("django_claude_batches.client.transport.time", SimpleNamespace(sleep=pauses.append)):
        yield pauses
