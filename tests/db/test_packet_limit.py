"""Rows that are too large for a statement of MySQL or MariaDB, with the limit of 1 MB that old servers have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections

from django_claude_batches.db import packet_limit

MB = 1024 * 1024


class SmallServer:
    """The used part of a connection. The limit of a real server is global, and 16 MB in the tests."""

    vendor = "mysql"

    def __init__(self, driver: str) -> None:
        self.Database = type(driver, (), {})

    def cursor(self) -> SmallServer:
        return self

    def __enter__(self) -> SmallServer:
        return self

    def __exit__(self, *_error: object) -> None: ...

    def execute(self, sql: str) -> None:
        assert sql == "SELECT @@max_allowed_packet"

    def fetchone(self) -> tuple[int]:
        return (MB,)


@pytest.fixture(params=["MySQLdb", "pymysql"])
def using(request: pytest.FixtureRequest) -> Iterator[str]:
    connections["small"] = SmallServer(request.param)  # type: ignore[assignment]
    yield "small"
    del connections["small"]


ROWS: list[Any] = ["x" * MB, "é" * (MB // 2), "語" * (MB // 3), "😀" * (MB // 4), '"' * 495_000, b'"' * 495_000]


@pytest.mark.parametrize("value", ROWS, ids=lambda value: repr(value[:1]))
def test_a_row_is_measured_in_bytes_as_a_statement_has_them(value: Any, using: str) -> None:
    assert "its max_allowed_packet" in packet_limit.obstacle(value, using=using)
    assert set(packet_limit.obstacles([("small", 1, None), (7, value)], using=using)) == {1}
    assert not packet_limit.obstacles([(value[: len(value) // 3],)], using=using)
