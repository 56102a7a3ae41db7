from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
import redis

from tests.harness.selections import slow_but


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def elsewhere(pytestconfig: pytest.Config, closed_port: int) -> Callable[..., str]:
    """Return a function that runs tests in a separate pytest process without servers and browser."""

    def run(*options: str, **environment: str) -> str:
        variables = {name: value for name, value in os.environ.items() if name not in {"CI", "DATABASE_URL"}}
        variables |= {"REDIS_URL": f"redis://127.0.0.1:{closed_port}/0", "CHROMIUM": "/no/chromium"}
        variables |= {"PGBOUNCER": "/no/pgbouncer", **environment}
        # Importing hypothesis takes longer than everything else.
        options = ("-p", "no:hypothesispytest", "-p", "no:randomly", *options)
        command = [sys.executable, "-m", "pytest", "-n0", "-rsf", *options]
        ran = subprocess.run(
            command, cwd=pytestconfig.rootpath, env=variables, capture_output=True, text=True, timeout=60
        )
        return ran.stdout + ran.stderr

    return run


@pytest.fixture
def without_redis(elsewhere: Callable[..., str]) -> Callable[..., str]:
    """Return a function that runs the test below that needs Redis."""
    return functools.partial(elsewhere, "-m", "redis", "tests/harness/test_requirements.py")


@pytest.mark.parametrize(("variables", "outcome"), slow_but(0, [({}, "1 skipped"), ({"CI": "true"}, "1 error")]))
def test_without_a_browser_its_tests_are_skipped_or_fail(
    elsewhere: Callable[..., str], variables: dict[str, str], outcome: str
) -> None:
    said = elsewhere("-k", "left_alone", "tests/browser/test_watch.py", **variables)
    assert outcome in said
    assert "needs a browser, and " in said


@pytest.mark.parametrize(("variables", "outcome"), slow_but(0, [({}, "1 skipped"), ({"CI": "true"}, "1 error")]))
def test_without_a_neighbour_its_test_is_skipped_or_fails(
    elsewhere: Callable[..., str], variables: dict[str, str], outcome: str
) -> None:
    said = elsewhere("-m", "neighbour", "-k", "toolbar", "tests/neighbours/test_journeys.py", **variables)
    assert outcome in said
    assert "needs django-debug-toolbar, and it is not installed here: `tox run -e neighbours` runs this" in said


@pytest.mark.parametrize(("variables", "outcome"), slow_but(0, [({}, "1 skipped"), ({"CI": "true"}, "1 error")]))
def test_without_a_pooler_its_test_is_skipped_or_fails(
    elsewhere: Callable[..., str], variables: dict[str, str], outcome: str
) -> None:
    said = elsewhere("tests/reliability/databases/test_pooler.py", **variables)
    assert outcome in said
    assert "needs PgBouncer, and /no/pgbouncer is not installed" in said


@pytest.mark.slow
def test_without_ci_a_missing_server_is_a_skip_that_says_so(
    without_redis: Callable[..., str], closed_port: int
) -> None:
    said = without_redis()
    assert "1 skipped" in said
    assert f"needs Redis, and nothing answers on 127.0.0.1:{closed_port}" in said


def test_with_ci_it_is_a_failure(without_redis: Callable[..., str], closed_port: int) -> None:
    said = without_redis(CI="true")
    assert "needs Redis, and nothing answers on 127.0.0.1:" in said
    assert "1 error" in said or "1 failed" in said


@pytest.mark.slow
def test_services_none_asks_no_server_even_with_ci(without_redis: Callable[..., str]) -> None:
    said = without_redis("--services=none", CI="true")
    assert "1 skipped" in said
    assert "--services=none was given" in said


@pytest.mark.redis
def test_redis_answers(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()
