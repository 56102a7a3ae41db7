"""Failures of a process: it dies before a statement, or is suspended there and wakes up late."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


class Crash(BaseException):
    """The process is dead: no code of the package catches this, and no more statements are made."""


@contextmanager
def dying(at: int | None) -> Iterator[None]:
    """Raise Crash before the `at`-th statement of this thread, and before each one after it.

    Before a statement is after the commit, or after the network call, that came before it.
    """
    thread, statements = threading.get_ident(), 0

    def count(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        nonlocal statements
        if threading.get_ident() == thread and not sql.startswith(("ROLLBACK", "RELEASE")):
            statements += 1
            if at is not None and statements >= at:
                raise Crash
        return execute(sql, params, many, context)

    with connection.execute_wrapper(count):
        yield


@contextmanager
def suspended(at: int | None, meanwhile: Callable[[], object]) -> Iterator[None]:
    """Let `meanwhile` happen just before the `at`-th statement of this thread that is in no transaction.

    Not inside a transaction, which would lock the database for all others.
    """
    thread, statements = threading.get_ident(), 0

    def count(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        nonlocal statements
        if threading.get_ident() == thread and not connection.in_atomic_block:
            statements += 1
            if statements == at:
                meanwhile()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(count):
        yield
