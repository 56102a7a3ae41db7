"""Call methods of a job, also asynchronous ones."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import suppress
from typing import Any, TypeVar

from asgiref.sync import async_to_sync
from django.db import InterfaceError, OperationalError, transaction

from django_claude_batches import job_registry
from django_claude_batches.exceptions import UnknownJob

T = TypeVar("T")

# Transient database errors: lost connection, deadlock, serialization failure. Retried.
TRANSIENT_DATABASE_ERRORS = (OperationalError, InterfaceError)


class SwallowedDatabaseError(Exception):
    """The project's code caught a database error that had rolled back its transaction."""


def get_job(name: str) -> job_registry.Job:
    """Return the job of this name; raise UnknownJob, which lists the known ones."""
    job = job_registry.find(name)
    if job is None:
        raise UnknownJob(f"{job_registry.unknown_job_message(name)} Declare jobs in an app's module claude_jobs.")
    return job


def call_handler(job: job_registry.Job, handler: str, *args: Any, using: str) -> Exception | None:
    """Call the job's handler in a savepoint; return the exception that it raised, after undoing its writes.

    Raise transient database errors.
    """
    try:
        with transaction.atomic(using=using):
            call(job, handler, *args)
            if transaction.get_rollback(using):
                raise SwallowedDatabaseError(
                    "It caught a database error, and what it had written until then was undone with that: put the "
                    "statement that may fail into a transaction.atomic() of its own."
                )
    except TRANSIENT_DATABASE_ERRORS:
        raise
    except Exception as error:  # noqa: BLE001 (it is the project's code)
        return error
    return None


def call(job: job_registry.Job, handler: str, *args: Any) -> None:
    """Call the job's method of this name; await what it returns, if that can be awaited.

    `sync_to_async`, and so all of Django's async ORM, runs in this thread: on its connections, inside the transactions
    that are open on them. Tasks that the handler leaves behind are canceled.

    Raise what the handler raises, TypeError if it returns a generator, and RuntimeError if an event loop is running.
    """
    returned = getattr(job, handler)(*args)
    if returned is None:
        return
    name = _name(job, handler)
    if inspect.isawaitable(returned):
        returned = _run_awaitable(returned, name)
    if isinstance(returned, Generator | AsyncGenerator):
        _close(returned)
        raise TypeError(f"{name}() returned {_with_article(returned)}: its body has not run. A handler must not yield.")


def sync_result(job: job_registry.Job, method: str, returned: T) -> T:
    """Return what a method of the job returned; raise TypeError if that would have to be awaited."""
    if inspect.isawaitable(returned) or isinstance(returned, AsyncGenerator):
        _close(returned)
        raise TypeError(
            f"{_name(job, method)}() returned {_with_article(returned)}: this method must not be asynchronous."
        )
    return returned


def _run_awaitable(awaitable: Any, name: str) -> Any:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        _close(awaitable)
        raise RuntimeError(
            f"{name}() is asynchronous, and cannot be awaited: this worker calls it from within a running event loop. "
            "Use a worker that runs no event loop in the thread of its tasks, or make the handler a plain function."
        )
    tasks: list[asyncio.Task[Any]] = []

    async def finish() -> Any:
        tasks.extend(filter(None, [asyncio.current_task()]))
        returned = awaitable
        try:
            while inspect.isawaitable(returned):  # an async function may return another's coroutine
                returned = await returned
        except asyncio.CancelledError as error:
            # CancelledError is not an Exception: raised here, it would end the worker's task instead of this row.
            raise RuntimeError(f"{name}() was canceled, by itself or by what it awaited.") from error
        return returned

    try:
        # A new loop ends with the call, and cancels its remaining tasks.
        return async_to_sync(finish, force_new_loop=True)()
    except BaseException:
        if not tasks:  # it did not begin
            _close(awaitable)
        # If a signal interrupts this thread, the loop's thread would continue.
        for task in tasks:
            with suppress(RuntimeError):  # the loop is closed: nothing is left in it
                task.get_loop().call_soon_threadsafe(task.cancel)
        raise


def _close(returned: object) -> None:
    """Close a coroutine that will never run: Python warns of a coroutine that was not awaited."""
    if isinstance(returned, Coroutine | Generator):
        returned.close()


def _name(job: job_registry.Job, method: str) -> str:
    return f"{type(job).__name__}.{method}"


def _with_article(returned: object) -> str:
    name = type(returned).__name__.replace("_", " ")
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
