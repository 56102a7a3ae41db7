"""Add crash points at each call of the database, the network and the project's own code.

They are not in the package itself, so that a new commit or call has its points automatically. An effect is
named by its kind and by the function that causes it: the innermost function of the services, with what it called in the
models: `send._mark_sent: COMMIT`, `engine._work > LeasedQuerySet.lease: UPDATE messagebatch`.
"""

from __future__ import annotations

import http.client
import inspect
import re
from collections.abc import Callable
from threading import local
from typing import Any

import requests
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import Signal

from django_claude_batches import signals
from django_claude_batches.models import MessageBatch
from tests.harness.library.models import Book
from tests.reliability.kills.crash_points import AFTER, BEFORE, FIRST_BYTES, HEAD_SENT, SENT, crashpoint

WRITE = re.compile(r'(INSERT|UPDATE|DELETE)\b[^"`]*["`](?:django_claude_batches_)?(\w+)')
BATCH_ID = re.compile(r"msgbatch_\w+")
PACKAGE = "django_claude_batches"
STORED = "{count} results"

# The call to Anthropic that this thread is making.
_call = local()


def watch() -> None:
    """Add crash points to this process, and to the processes that it forks."""
    connection_created.connect(_watch_statements, dispatch_uid="crash points")
    BaseDatabaseWrapper._commit = _around_commits(BaseDatabaseWrapper._commit)  # type: ignore[method-assign]
    requests.Session.send = _around_calls(requests.Session.send)  # type: ignore[method-assign]
    connection = http.client.HTTPConnection
    connection.endheaders = _after_head(connection.endheaders)  # type: ignore[method-assign]
    connection.getresponse = _before_answer(connection.getresponse)  # type: ignore[method-assign]
    for name, signal in vars(signals).items():
        if isinstance(signal, Signal):
            signal.connect(_receiver(name), weak=False, dispatch_uid="crash points")


# All listings call this function; the effect is named by its caller.
PASSED_THROUGH = {"page.list_page", "baseline.record_baseline", "reconcile._search"}


def place() -> str:
    """Return the name of the current function, by the package's frames on the stack."""
    frame, in_models = inspect.currentframe(), ""
    while frame is not None:
        module = frame.f_globals["__name__"]
        name = frame.f_code.co_qualname.partition(".<locals>")[0]
        if module.startswith(f"{PACKAGE}.services."):
            service = f"{module.rpartition('.')[2]}.{name}"
            if service not in PASSED_THROUGH:
                return f"{service} > {in_models}" if in_models else service
        if module.startswith((f"{PACKAGE}.models.", f"{PACKAGE}.db.")):
            in_models = name
        frame = frame.f_back
    return in_models


# The database: each commit of something written, and each write that is a transaction of its own.


def _watch_statements(connection: BaseDatabaseWrapper, **_about: Any) -> None:
    if _around_statement not in connection.execute_wrappers:
        connection.execute_wrappers.append(_around_statement)


def _around_statement(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    written = WRITE.match(sql)
    if written is None:
        return execute(sql, params, many, context)
    connection = context["connection"]
    if connection.in_atomic_block:
        connection.has_written = True
        return execute(sql, params, many, context)
    effect = f"{place()}: {written[1]} {written[2]}"
    crashpoint(f"{BEFORE} {effect}")
    result = execute(sql, params, many, context)
    crashpoint(f"{AFTER} {effect}")
    return result


def _around_commits(commit: Callable[[Any], None]) -> Callable[[Any], None]:
    def _commit(connection: Any) -> None:
        has_written, connection.has_written = getattr(connection, "has_written", False), False
        if not has_written:
            return commit(connection)
        effect = f"{place()}: COMMIT"
        crashpoint(f"{BEFORE} {effect}")
        commit(connection)
        crashpoint(f"{AFTER} {effect}")
        return None

    return _commit


# The network.


def _around_calls(send: Callable[..., requests.Response]) -> Callable[..., requests.Response]:
    def call(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        path = BATCH_ID.sub("ID", str(request.path_url)).partition("?")[0].removeprefix("/v1/messages")
        effect = f"{place()}: {request.method} {path}"
        crashpoint(f"{BEFORE} {effect}")
        _call.effect = effect
        try:
            response = send(session, request, **options)
        finally:  # with or without an answer
            _call.effect = ""
            crashpoint(f"{AFTER} {effect}")
        if path.endswith("/results"):
            _watch_reading(response.raw, effect)
        return response

    return call


def _after_head(endheaders: Callable[..., None]) -> Callable[..., None]:
    """Urllib3 sends the head, then the body, piece by piece."""

    def and_then(connection: Any, *arguments: Any, **options: Any) -> None:
        endheaders(connection, *arguments, **options)
        if getattr(_call, "effect", "").endswith("POST /batches"):
            crashpoint(f"{HEAD_SENT} {_call.effect}")

    return and_then


def _before_answer(getresponse: Callable[..., Any]) -> Callable[..., Any]:
    def after_sending(connection: Any, *arguments: Any, **options: Any) -> Any:
        if getattr(_call, "effect", ""):
            crashpoint(f"{SENT} {_call.effect}")
        return getresponse(connection, *arguments, **options)

    return after_sending


def _watch_reading(raw: Any, effect: str) -> None:
    """Be there when the first bytes have come: of a chunked answer by `stream`, as `iter_content` reads it."""
    is_first = iter([True])

    def passed(piece: bytes) -> bytes:
        if next(is_first, False):
            crashpoint(f"{FIRST_BYTES} {effect}")
        return piece

    name = "stream" if raw.chunked else "read1" if hasattr(raw, "read1") else "read"
    read = getattr(raw, name)

    def and_then(*arguments: Any, **options: Any) -> Any:
        found = read(*arguments, **options)
        return map(passed, found) if raw.chunked else passed(found)

    setattr(raw, name, and_then)


# The project's own code.


def _receiver(name: str) -> Callable[..., None]:
    """Give a receiver of a signal, as a project has them; that of the results does something that can be repeated."""

    def receive(batch: MessageBatch, **_about: Any) -> None:
        effect = f"{place()}: receiver of {name}"
        crashpoint(f"{BEFORE} {effect}")
        if name == "results_ingested":
            summary = STORED.format(count=batch.results.count())
            Book.objects.update_or_create(title=str(batch.pk), defaults={"summary": summary})
        crashpoint(f"{AFTER} {effect}")

    return receive
