"""Handlers that are `async def`, or that return something that has still to run."""

from __future__ import annotations

import asyncio
import functools
import re
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import OperationalError, connection, connections, transaction
from django.db.models import F

from django_claude_batches import services
from django_claude_batches.models import DeliveryChunk, FailedDelivery, JobRun, RunState
from django_claude_batches.services.job_calls import call
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.library.models import Review
from tests.harness.shop import BAD, deliver_all, effects, fetched, job, over, reviews

pytestmark = [pytest.mark.django_db, pytest.mark.database]


async def count(self: Any, review: Review, result: Any) -> None:
    await Review.objects.filter(pk=review.pk).aupdate(effects=F("effects") + 1, tags=result.text[:50])


def returns_coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def forgets_await(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


class Callback:
    async def __call__(self, review: Review, result: Any) -> None:
        await count(None, review, result)


class Awaitable:
    """Not a coroutine, but can be awaited."""

    def __init__(self, review: Review, result: Any) -> None:
        self.args = None, review, result

    def __await__(self) -> Any:
        return count(*self.args).__await__()


async def leaves_a_task(self: Any, review: Review, result: Any) -> Any:
    return asyncio.ensure_future(count(self, review, result))


SHAPES = {
    "coroutine function": count,
    "partial": staticmethod(functools.partial(count, None)),
    "partialmethod": functools.partialmethod(count),
    "staticmethod": staticmethod(Callback().__call__),
    "classmethod": classmethod(count),
    "callable": Callback(),
    "wrapper that returns the coroutine": returns_coroutine(count),
    "wrapper that forgets to await": forgets_await(count),
    "awaitable": Awaitable,
    "task": leaves_a_task,
    "async_to_sync": async_to_sync(count),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_each_kind_of_asynchronous_handler_runs(shape: str) -> None:
    (review,) = reviews(1)
    call(job(on_result=SHAPES[shape])(), "on_result", review, SimpleNamespace(text="tagged"))
    assert list(Review.objects.values_list("tags", "effects")) == [("tagged", 1)]


def test_it_runs_once_for_each_answer(claude: ClaudeEmulator) -> None:
    reviews(3)
    run = over(job(on_result=count).start(), claude)
    assert (run.state, effects()) == (RunState.FINISHED, [1, 1, 1])
    assert (DeliveryChunk.objects.get().delivered_count, FailedDelivery.objects.count()) == (3, 0)


def test_on_failure_and_on_finished_run_too() -> None:
    seen: list[str] = []

    async def on_failure(self: Any, review: Review, result: Any) -> None:
        await count(self, review, result)
        seen.append(result.outcome)

    async def on_finished(self: Any, run: JobRun) -> None:
        seen.append(await JobRun.objects.values_list("state", flat=True).aget(pk=run.pk))

    reviews(1)
    with ClaudeEmulator(seed=1, replies=lambda params, custom_id: BAD) as claude:
        run = over(job(on_failure=on_failure, on_finished=on_finished).start(), claude)
    assert (run.last_error, seen, effects()) == ("", ["errored", "finished"], [1])


class TestTransaction:
    def test_a_handler_writes_in_the_transaction_of_its_delivery(self, claude: ClaudeEmulator) -> None:
        seen: list[tuple[threading.Thread, bool]] = []

        def look() -> None:
            seen.append((threading.current_thread(), connection.in_atomic_block))

        async def on_result(self: Any, review: Review, result: Any) -> None:
            await sync_to_async(look)()
            await count(self, review, result)

        reviews(1)
        over(job(on_result=on_result).start(), claude)
        assert (seen, effects()) == ([(threading.current_thread(), True)], [1])

    def test_an_error_undoes_what_was_written(self, claude: ClaudeEmulator) -> None:
        bad = reviews(3)[1].pk

        async def on_result(self: Any, review: Review, result: Any) -> None:
            await count(self, review, result)
            await sync_to_async(review.save)()
            if review.pk == bad:
                raise LookupError("no shelf")

        over(job(on_result=on_result).start(), claude)
        row = FailedDelivery.objects.get()
        assert (row.position, row.error, row.outcome) == (1, "LookupError: no shelf", "succeeded")
        assert "raise LookupError" in row.traceback
        assert not Review.objects.get(pk=bad).tags
        assert DeliveryChunk.objects.get().delivered_count == 2

    def test_an_error_in_on_finished_undoes_what_was_written(self, claude: ClaudeEmulator) -> None:
        async def on_finished(self: Any, run: JobRun) -> None:
            await Review.objects.aupdate(tags="all of it")
            raise LookupError("no paper")

        reviews(1)
        run = over(job(on_finished=on_finished).start(), claude)
        assert (run.state, "LookupError: no paper" in run.last_error) == (RunState.FINISHED, True)
        assert not Review.objects.filter(tags="all of it").exists()

    def test_a_transient_database_error_is_retried(self, claude: ClaudeEmulator) -> None:
        troubles = [OperationalError("deadlock detected")]

        async def on_result(self: Any, review: Review, result: Any) -> None:
            await count(self, review, result)
            if troubles:
                raise troubles.pop()

        reviews(1)
        fetched(job(on_result=on_result).start(), claude)
        with pytest.raises(OperationalError):
            deliver_all()
        assert (effects(), FailedDelivery.objects.count()) == ([0], 0)

    @pytest.mark.django_db(transaction=True)
    def test_what_is_left_to_the_commit_runs_after_it(self, claude: ClaudeEmulator) -> None:
        seen: list[list[int]] = []

        async def on_result(self: Any, review: Review, result: Any) -> None:
            await count(self, review, result)
            await sync_to_async(transaction.on_commit)(lambda: seen.append(effects()))

        reviews(1)
        over(job(on_result=on_result).start(), claude)
        assert seen == [[1]]


class TestCancellation:
    def test_tasks_that_are_left_behind_are_canceled(self, claude: ClaudeEmulator) -> None:
        seen: list[str] = []

        async def late() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                seen.append("canceled")
                raise

        async def on_result(self: Any, review: Review, result: Any) -> None:
            seen.append("begun")
            self.task = asyncio.ensure_future(late())
            await asyncio.sleep(0)

        reviews(2)
        over(job(on_result=on_result).start(), claude)
        assert seen == ["begun", "canceled"] * 2

    def test_a_handler_that_is_canceled_parks_its_row(self, claude: ClaudeEmulator) -> None:
        """CancelledError is no Exception."""

        async def on_result(self: Any, review: Review, result: Any) -> None:
            await count(self, review, result)
            raise asyncio.CancelledError

        reviews(2)
        run = over(job(on_result=on_result).start(), claude)
        assert (run.state, effects()) == (RunState.FINISHED, [0, 0])
        assert {row.error for row in FailedDelivery.objects.all()} == {
            "RuntimeError: TagReviews.on_result() was canceled, by itself or by what it awaited."
        }

    def test_a_signal_ends_the_handler_too(self, claude: ClaudeEmulator) -> None:
        class Stopped(BaseException):
            pass

        ended = threading.Event()

        def stop(*args: object) -> None:
            raise Stopped

        async def on_result(self: Any, review: Review, result: Any) -> None:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

        reviews(1)
        fetched(job(on_result=on_result).start(), claude)
        before = signal.signal(signal.SIGUSR1, stop)
        try:
            with pytest.raises(Stopped):
                deliver_all()
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert ended.wait(5)


class TestRunningLoop:
    MESSAGE = (
        "TagReviews.on_result() is asynchronous, and cannot be awaited: this worker calls it from within a running"
    )

    def test_around_the_call_is_an_error(self) -> None:
        tagging = job(on_result=count)()

        async def worker() -> None:
            call(tagging, "on_result", Review(), None)

        with pytest.raises(RuntimeError, match=re.escape(self.MESSAGE)):
            asyncio.run(worker())

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.skipif(connection.vendor == "sqlite", reason="a loop has its own connection: another memory database")
    def test_around_the_worker_parks_the_rows(self, claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        reviews(2)

        async def on_finished(self: Any, run: JobRun) -> None: ...

        run = job(on_result=count, on_finished=on_finished).start()
        fetched(run, claude)

        async def worker() -> None:
            over(run, claude)
            connections.close_all()

        asyncio.run(worker())
        assert effects() == [0, 0]
        assert DeliveryChunk.objects.get().delivered_count == 0
        assert FailedDelivery.objects.count() == 2
        assert all(self.MESSAGE in row.error for row in FailedDelivery.objects.all())
        assert "TagReviews.on_finished() is asynchronous" in run.last_error
        services.redeliver_failed(run)
        deliver_all()
        assert (effects(), FailedDelivery.objects.count()) == ([1, 1], 0)

    def test_in_another_thread_does_no_harm(self, claude: ClaudeEmulator) -> None:
        reviews(2)
        run = job(on_result=count).start()
        async_to_sync(sync_to_async(over))(run, claude)
        assert (effects(), FailedDelivery.objects.count()) == ([1, 1], 0)


def generator(self: Any, review: Review, result: Any) -> Iterator[None]:
    Review.objects.update(effects=F("effects") + 1)
    yield


async def async_generator(self: Any, review: Review, result: Any) -> AsyncIterator[None]:
    await count(self, review, result)
    yield


class TestGenerators:
    @pytest.mark.parametrize(
        ("function", "name"),
        [
            (returns_coroutine(generator), "a generator"),
            (forgets_await(async_generator), "an async generator"),
        ],
    )
    def test_one_that_a_handler_returns_parks_its_row(self, claude: ClaudeEmulator, function: Any, name: str) -> None:
        reviews(2)
        run = over(job(on_result=function).start(), claude)
        assert (run.state, effects(), DeliveryChunk.objects.get().delivered_count) == (RunState.FINISHED, [0, 0], 0)
        assert {row.error for row in FailedDelivery.objects.all()} == {
            f"TypeError: TagReviews.on_result() returned {name}: its body has not run. A handler must not yield."
        }

    @pytest.mark.parametrize("value", [True, "", [1], {}, Review.objects.all(), iter([1])])
    def test_whatever_else_a_handler_returns_is_ignored(self, value: object) -> None:
        call(job(on_result=lambda self, review, result: value)(), "on_result", Review(), None)


async def nothing(self: Any, *args: Any) -> None: ...


def test_betas_may_be_a_generator(claude: ClaudeEmulator) -> None:
    def get_betas(self: Any, review: Review) -> Iterator[str]:
        yield "one-2026"

    reviews(1)
    run = over(job(get_betas=get_betas).start(), claude)
    assert (run.batches.get().betas, effects()) == (["one-2026"], [1])


@pytest.mark.parametrize("member", ["get_queryset", "get_prompt", "get_params", "get_betas"])
def test_a_coroutine_that_another_method_returns_pauses_the_run(claude: ClaudeEmulator, member: str) -> None:
    reviews(1)
    run = over(job(**{member: returns_coroutine(nothing)}).start(), claude)
    assert run.is_paused
    assert f"TagReviews.{member}() returned a coroutine: this method must not be asynchronous." in run.pause_reason
