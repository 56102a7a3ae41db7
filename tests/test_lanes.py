from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
import redis


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def without_redis(pytestconfig: pytest.Config, closed_port: int) -> Callable[..., str]:
    """Runs the one test below that needs Redis, in a pytest of its own, where nothing answers."""

    def run(*options: str, **environment: str) -> str:
        variables = {name: value for name, value in os.environ.items() if name not in {"CI", "DATABASE_URL"}}
        variables |= {"REDIS_URL": f"redis://127.0.0.1:{closed_port}/0", **environment}
        # Importing hypothesis takes longer than all else.
        options = ("-p", "no:hypothesispytest", "-p", "no:randomly", *options)
        command = [sys.executable, "-m", "pytest", "-n0", "-rsf", "-m", "redis", *options, "tests/test_lanes.py"]
        ran = subprocess.run(
            command, cwd=pytestconfig.rootpath, env=variables, capture_output=True, text=True, timeout=60
        )
        return ran.stdout + ran.stderr

    return run


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


def test_services_none_asks_no_server_even_with_ci(without_redis: Callable[..., str]) -> None:
    said = without_redis("--services=none", CI="true")
    assert "1 skipped" in said
    assert "--services=none was given" in said


@pytest.mark.redis
def test_redis_answers(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()
