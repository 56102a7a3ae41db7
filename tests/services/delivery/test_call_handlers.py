"""What the project's own code may do wrong, and what becomes of its row and of the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import F
from django.utils import timezone

from django_claude_batches import job_registry, services
from django_claude_batches.models import DeliveryChunk, FailedDelivery, JobRun, RunState
from django_claude_batches.services.delivery.deliver import MAX_TASK_SECONDS, MAX_TRIES, ROW_BY_ROW_FROM_TRY, deliver
from django_claude_batches.services.runs.drive import drive
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.library.models import Review
from tests.harness.shop import BAD, deliver_all, effects, fetched, job, let_time_come, over, reviews

pytestmark = [pytest.mark.django_db, pytest.mark.database]

Handler = Callable[[Review], object]


def handling(handler: Handler) -> Callable[..., None]:
    """A handler that counts its effect, and then does something more."""

    def on_result(self: Any, review: Review, result: Any) -> None:
        Review.objects.filter(pk=review.pk).update(effects=F("effects") + 1, tags=result.text[:50])
        handler(review)

    return on_result


def raising_for(pks: set[int], calls: list[int]) -> Handler:
    def handler(review: Review) -> None:
        calls.append(review.pk)
        if review.pk in pks:
            raise LookupError(f"no shelf for {review.pk}\0")

    return handler


class TestOneThatRaises:
    def test_parks_its_row_and_no_other(self, claude: ClaudeEmulator) -> None:
        rows = reviews(200)
        bad = {rows[50].pk, rows[150].pk}  # 1 %
        calls: list[int] = []
        run = over(job(on_result=handling(raising_for(bad, calls))).start(), claude)
        assert run.state == RunState.FINISHED
        assert effects().count(1) == 198
        assert set(Review.objects.filter(effects=0, tags="").values_list("pk", flat=True)) == bad
        assert len(calls) == 200
        parked = FailedDelivery.objects.order_by("position")
        assert [(row.position, row.outcome) for row in parked] == [(50, "succeeded"), (150, "succeeded")]
        assert parked[0].error == f"LookupError: no shelf for {rows[50].pk}\ufffd"
        assert "raise LookupError" in parked[0].traceback
        chunk = DeliveryChunk.objects.get()
        assert (chunk.delivered_count, chunk.failed_count, chunk.gone_count) == (198, 0, 0)
        let_time_come()
        deliver_all()
        assert len(calls) == 200, "called again by itself"

    def test_is_called_again_when_it_is_mended(self, claude: ClaudeEmulator) -> None:
        bad = {reviews(10)[3].pk}
        calls: list[int] = []
        run = over(job(on_result=handling(raising_for(bad, calls))).start(), claude)
        bad.clear()
        assert [services.redeliver_failed(run), services.redeliver_failed(run)] == [1, 1]
        deliver_all()
        assert (effects(), len(calls), FailedDelivery.objects.count()) == ([1] * 10, 11, 0)
        assert services.redeliver_failed(run) == 0
        deliver_all()
        assert len(calls) == 11
        assert list(DeliveryChunk.objects.values_list("mode", "delivered_count")) == [("first", 9), ("failed", 1)]

    def test_parks_again_when_it_is_not_mended(self, claude: ClaudeEmulator) -> None:
        bad = {row.pk for row in reviews(4)[1:3]}
        calls: list[int] = []
        run = over(job(on_result=handling(raising_for(bad, calls))).start(), claude)
        fixed = bad.pop()
        services.redeliver_failed(run)
        deliver_all()
        assert Review.objects.get(pk=fixed).effects == 1
        assert [row.request.object_id for row in FailedDelivery.objects.all()] == [str(pk) for pk in bad]
        bad.clear()
        services.redeliver_failed(run.batches.get())
        deliver_all()
        assert (effects(), FailedDelivery.objects.count()) == ([1] * 4, 0)

    def test_is_logged_once_for_all(self, claude: ClaudeEmulator, caplog: pytest.LogCaptureFixture) -> None:
        bad = {row.pk for row in reviews(20)}
        over(job(on_result=handling(raising_for(bad, []))).start(), claude)
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert "raised for 20 of 20 rows" in record.getMessage()
        assert record.exc_info is not None
        assert record.exc_info[0] is LookupError


class TestOnFailure:
    @pytest.fixture
    def refusing(self) -> Iterator[ClaudeEmulator]:
        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: BAD) as emulator:
            yield emulator

    def test_that_raises_parks_its_row(self, refusing: ClaudeEmulator) -> None:
        reviews(3)
        is_broken = [True]
        calls: list[str] = []

        def on_failure(self: Any, review: Review, result: Any) -> None:
            calls.append(result.outcome)
            if is_broken[0]:
                raise LookupError

        run = over(job(on_failure=on_failure).start(), refusing)
        assert (run.state, calls) == (RunState.FINISHED, ["errored"] * 3)
        assert set(FailedDelivery.objects.values_list("outcome", flat=True)) == {"errored"}
        is_broken.clear()
        is_broken.append(False)
        services.redeliver_failed(run)
        deliver_all()
        assert (len(calls), FailedDelivery.objects.count()) == (6, 0)
        assert sum(len(failed) for failed in DeliveryChunk.objects.values_list("failed", flat=True)) == 3
        assert services.retry_run(run) == 3, "each failed row is asked again once, parked or not"

    def test_of_a_row_that_is_asked_again_is_not_called_later(self, refusing: ClaudeEmulator) -> None:
        reviews(2)

        def on_failure(self: Any, review: Review, result: Any) -> None:
            raise LookupError

        run = over(job(on_failure=on_failure).start(), refusing)
        assert FailedDelivery.objects.count() == 2
        services.retry_run(run)
        assert FailedDelivery.objects.count() == 0


class TestDatabaseErrors:
    def test_of_a_statement_is_the_rows_own(self, claude: ClaudeEmulator) -> None:
        """On SQLite "no such table" is an OperationalError, which also a locked database is."""
        bad = reviews(5)[2].pk

        def handler(review: Review) -> None:
            if review.pk == bad:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT shelf FROM nowhere")

        run = taken_to_its_end(job(on_result=handling(handler)).start(), claude)
        assert run.state == RunState.FINISHED
        assert effects() == [1, 1, 0, 1, 1]
        assert "nowhere" in FailedDelivery.objects.get().error

    def test_that_pass_are_tried_again_and_come_to_an_end(self, claude: ClaudeEmulator) -> None:
        bad = reviews(5)[2].pk
        calls: list[int] = []

        def handler(review: Review) -> None:
            calls.append(review.pk)
            if review.pk == bad:
                raise OperationalError("deadlock detected")

        run = taken_to_its_end(job(on_result=handling(handler)).start(), claude)
        assert run.state == RunState.FINISHED
        assert effects() == [1, 1, 0, 1, 1]
        assert calls.count(bad) == ROW_BY_ROW_FROM_TRY
        assert FailedDelivery.objects.get().error == "OperationalError: deadlock detected"

    def test_that_pass_leave_nothing_behind(self, claude: ClaudeEmulator) -> None:
        pks = [row.pk for row in reviews(3)]
        troubles = [OperationalError("deadlock detected"), OperationalError("too many connections")]

        def handler(review: Review) -> None:
            if review.pk == pks[1] and troubles:
                raise troubles.pop()

        run = taken_to_its_end(job(on_result=handling(handler)).start(), claude)
        assert (run.state, effects(), FailedDelivery.objects.count()) == (RunState.FINISHED, [1, 1, 1], 0)

    def test_the_delivery_says_what_it_waits_for(self, claude: ClaudeEmulator) -> None:
        reviews(1)

        def handler(review: Review) -> None:
            raise OperationalError("too many connections")

        fetched(job(on_result=handling(handler)).start(), claude)
        with pytest.raises(OperationalError):
            deliver_all()
        chunk = DeliveryChunk.objects.get()
        assert chunk.last_error.endswith("OperationalError: too many connections")
        assert (chunk.failures, chunk.lease_token, chunk.next_action_at is not None) == (1, "", True)
        deliver_all()  # not due yet
        assert DeliveryChunk.objects.get().failures == 1

    def test_one_that_is_caught_is_said(self, claude: ClaudeEmulator) -> None:
        """Django undoes the handler's transaction then, without another word."""
        bad = reviews(3)[1].pk

        def handler(review: Review) -> None:
            if review.pk == bad:
                with suppress(IntegrityError):
                    Review.objects.create(pk=review.pk)

        over(job(on_result=handling(handler)).start(), claude)
        assert effects() == [1, 0, 1]
        assert "transaction.atomic() of its own" in FailedDelivery.objects.get().error

    def test_one_that_is_caught_in_a_transaction_of_its_own_does_no_harm(self, claude: ClaudeEmulator) -> None:
        reviews(3)

        def handler(review: Review) -> None:
            with suppress(IntegrityError), transaction.atomic():
                Review.objects.create(pk=review.pk)

        over(job(on_result=handling(handler)).start(), claude)
        assert (effects(), FailedDelivery.objects.count()) == ([1, 1, 1], 0)


@pytest.mark.django_db(transaction=True)
def test_a_foreign_key_that_is_found_wrong_at_the_commit(claude: ClaudeEmulator) -> None:
    """SQLite and PostgreSQL look only then, and do not say whose it is."""
    bad = reviews(5)[2].pk

    def handler(review: Review) -> None:
        if review.pk == bad:
            LogEntry.objects.create(user_id=987_654, action_flag=1, object_repr="")

    run = over(job(on_result=handling(handler)).start(), claude)
    assert run.state == RunState.FINISHED, run.pause_reason
    assert effects() == [1, 1, 0, 1, 1]
    assert FailedDelivery.objects.get().error.startswith("IntegrityError")
    assert LogEntry.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_deadlock_after_one_is_tried_again(claude: ClaudeEmulator) -> None:
    """The error at the commit is looked for row by row, in the first try: an error that passes is not a row's yet."""
    pks = [row.pk for row in reviews(5)]
    calls: list[int] = []

    def handler(review: Review) -> None:
        calls.append(review.pk)
        if review.pk == pks[1]:
            LogEntry.objects.create(user_id=987_654, action_flag=1, object_repr="")
        if review.pk == pks[3] and calls.count(pks[3]) == 2:
            raise OperationalError("deadlock detected")

    run = taken_to_its_end(job(on_result=handling(handler)).start(), claude)
    assert run.state == RunState.FINISHED, run.pause_reason
    assert effects() == [1, 0, 1, 1, 1]
    assert FailedDelivery.objects.get().error.startswith("IntegrityError")


def taken_to_its_end(run: JobRun, claude: ClaudeEmulator) -> JobRun:
    """Go on whatever a worker's task raises, as long as there is something to do."""
    fetched(run, claude)
    for _round in range(20):
        let_time_come()
        try:
            deliver_all()
        except OperationalError:
            continue
        if not DeliveryChunk.objects.due().exists():
            break
    return over(run, claude)


class TestSlowHandlers:
    def test_that_fill_many_tasks_row_by_row_have_not_failed(
        self, claude: ClaudeEmulator, pass_time: Callable[[float], None]
    ) -> None:
        reviews(MAX_TRIES + 3)
        troubles = [OperationalError("too many connections")] * (ROW_BY_ROW_FROM_TRY - 1)

        def handler(review: Review) -> None:
            if troubles:
                raise troubles.pop()
            pass_time(MAX_TASK_SECONDS + 1)

        run = taken_to_its_end(job(on_result=handling(handler)).start(), claude)
        assert (run.state, run.pause_reason) == (RunState.FINISHED, "")
        assert effects() == [1] * (MAX_TRIES + 3)

    @pytest.mark.parametrize(("seconds", "seen"), [(0.0, [0, 0, 0]), (11.0, [0, 1, 2])])
    def test_end_their_transaction_early(
        self, claude: ClaudeEmulator, pass_time: Callable[[float], None], seconds: float, seen: list[int]
    ) -> None:
        positions: list[int] = []

        def handler(review: Review) -> None:
            positions.append(DeliveryChunk.objects.get().position)
            pass_time(seconds)

        reviews(3)
        over(job(on_result=handling(handler)).start(), claude)
        assert (positions, effects()) == (seen, [1, 1, 1])

    def test_leave_the_rest_to_the_next_process(
        self, claude: ClaudeEmulator, pass_time: Callable[[float], None]
    ) -> None:
        reviews(3)
        fetched(job(on_result=handling(lambda review: pass_time(21 * 60))).start(), claude)
        for done in range(1, 4):
            deliver_all()
            assert sum(effects()) == done
        assert DeliveryChunk.objects.get().done_at is not None

    def test_longer_than_the_lease_lose_nothing(self, claude: ClaudeEmulator) -> None:
        """A process that comes then waits for the row's lock, and finds the mark."""
        reviews(3)
        past = timezone.now() - timedelta(days=1)
        handler = handling(lambda review: DeliveryChunk.objects.update(lease_until=past))
        fetched(job(on_result=handler).start(), claude)
        deliver_all()
        deliver_all()
        assert effects() == [1, 1, 1]


class TestLateProcesses:
    def test_write_nothing_when_another_has_the_chunk(self, claude: ClaudeEmulator) -> None:
        reviews(3)
        taken: list[bool] = []

        def handler(review: Review) -> None:
            if not taken:
                taken.append(True)
                DeliveryChunk.objects.update(lease_token="another process")

        fetched(job(on_result=handling(handler)).start(), claude)
        deliver_all()
        assert effects() == [0, 0, 0]
        let_time_come()
        deliver_all()
        assert effects() == [1, 1, 1]

    def test_twice_is_once(self, claude: ClaudeEmulator) -> None:
        reviews(3)
        fetched(job().start(), claude)
        pk = DeliveryChunk.objects.get().pk
        deliver(pk)
        deliver(pk)
        assert effects() == [1, 1, 1]

    def test_one_at_work_keeps_others_out(self, claude: ClaudeEmulator) -> None:
        reviews(3)
        pks: list[int] = []
        fetched(job(on_result=handling(lambda review: deliver(pks[0]))).start(), claude)
        pks.append(DeliveryChunk.objects.get().pk)
        deliver_all()
        assert effects() == [1, 1, 1]


class TestGoneTargets:
    def test_deleted_before(self, claude: ClaudeEmulator) -> None:
        rows = reviews(3)
        run = job().start()
        fetched(run, claude)
        rows[1].delete()
        over(run, claude)
        assert (run.state, effects()) == (RunState.FINISHED, [1, 1])
        chunk = DeliveryChunk.objects.get()
        assert (chunk.delivered_count, chunk.gone_count, FailedDelivery.objects.count()) == (2, 1, 0)

    def test_deleted_between_the_read_and_the_call(self, claude: ClaudeEmulator) -> None:
        rows = reviews(3)

        def on_result(self: Any, review: Review, result: Any) -> None:
            if review.pk == rows[0].pk:
                rows[1].delete()
            review.effects += 1
            review.save(update_fields=["effects"])

        run = over(job(on_result=on_result).start(), claude)
        assert (run.state, effects()) == (RunState.FINISHED, [1, 1])
        assert (DeliveryChunk.objects.get().gone_count, FailedDelivery.objects.count()) == (1, 0)

    def test_their_model_is_gone(self, claude: ClaudeEmulator, gone_model: ContentType) -> None:
        reviews(2)
        run = job().start()
        (batch,) = fetched(run, claude)
        batch.requests.update(content_type=gone_model)
        over(run, claude)
        assert (run.state, DeliveryChunk.objects.get().gone_count) == (RunState.FINISHED, 2)

    def test_failures_of_gone_ones_are_counted_too(self) -> None:
        rows = reviews(2)
        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: BAD) as claude:
            run = job().start()
            fetched(run, claude)
            rows[0].delete()
            over(run, claude)
        chunk = DeliveryChunk.objects.get()
        assert (run.state, chunk.failed_count, chunk.gone_count) == (RunState.FINISHED, 2, 1)


class TestWithoutAHandler:
    def test_the_run_is_paused_and_goes_on(self, claude: ClaudeEmulator) -> None:
        reviews(3)
        run = job().start()
        fetched(run, claude)
        job_registry.unregister("tag-reviews")
        deliver_all()
        run.refresh_from_db()
        assert run.is_paused
        assert 'No job is named "tag-reviews" here' in run.pause_reason
        let_time_come()
        deliver_all()
        assert effects() == [0, 0, 0]
        job()
        over(services.resume_run(run), claude)
        assert (run.state, effects()) == (RunState.FINISHED, [1, 1, 1])

    def test_with_a_run_that_is_over_it_waits_for_a_person(self, claude: ClaudeEmulator) -> None:
        reviews(3)
        run = over(job().start(), claude)
        batch = run.batches.get()
        services.redeliver(batch)
        job_registry.unregister("tag-reviews")
        deliver_all()
        chunk = DeliveryChunk.objects.get(mode="redeliver")
        assert (chunk.next_action_at, chunk.done_at) == (None, None)
        assert "No job is named" in chunk.last_error
        job()
        services.redeliver(batch)
        deliver_all()
        assert effects() == [2, 2, 2]
        assert DeliveryChunk.objects.filter(mode="redeliver").count() == 1


class TestKilledAgainAndAgain:
    """The process dies in the handler. But here `finally` runs and releases the lease, as it does not after a SIGKILL:
    for that, see tests/reliability/kills/test_deliveries.py.
    """

    class Killed(BaseException):
        pass

    def test_a_person_has_to_look(self, claude: ClaudeEmulator) -> None:
        rows = reviews(5)
        killer = {rows[3].pk}
        calls: list[int] = []

        def handler(review: Review) -> None:
            calls.append(review.pk)
            if review.pk in killer:
                raise self.Killed

        run = job(on_result=handling(handler)).start()
        fetched(run, claude)
        for _death in range(10):
            let_time_come()
            try:
                deliver_all()
            except self.Killed:
                continue
        run.refresh_from_db()
        assert calls.count(rows[3].pk) == MAX_TRIES
        assert run.is_paused
        assert f"at request {rows[3].pk} (position 3)" in run.pause_reason
        assert effects() == [1, 1, 1, 0, 0], "those before it were delivered one by one"
        killer.clear()
        over(services.resume_run(run), claude)
        assert (run.state, effects()) == (RunState.FINISHED, [1] * 5)


class TestOnFinished:
    def test_is_called_once_with_the_run(self, claude: ClaudeEmulator) -> None:
        reviews(2)
        seen: list[tuple[str, list[int]]] = []

        def on_finished(self: Any, run: JobRun) -> None:
            seen.append((run.state, effects()))

        run = over(job(on_finished=on_finished).start(), claude)
        over(run, claude)
        assert seen == [("finished", [1, 1])]

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no row locks to wait for")
    def test_holds_the_run_in_the_eyes_of_others_however_long_it_takes(self, claude: ClaudeEmulator) -> None:
        """Else each tick would find the run due, and wait for its row."""
        reviews(1)
        leases: list[Any] = []

        def others_see() -> Any:
            try:
                return JobRun.objects.get().lease_until
            finally:
                connection.close()

        def on_finished(self: Any, run: JobRun) -> None:
            with ThreadPoolExecutor(1) as pool:
                leases.append(pool.submit(others_see).result())

        over(job(on_finished=on_finished).start(), claude)
        (until,) = leases
        assert until > timezone.now() + timedelta(minutes=60)

    def test_that_raises_is_said(self, claude: ClaudeEmulator) -> None:
        reviews(2)

        def on_finished(self: Any, run: JobRun) -> None:
            Review.objects.update(tags="all of it")
            raise LookupError("no paper")

        run = over(job(on_finished=on_finished).start(), claude)
        assert run.state == RunState.FINISHED
        assert run.last_error.startswith("on_finished raised")
        assert "LookupError: no paper" in run.last_error
        assert not Review.objects.filter(tags="all of it").exists()

    def test_in_which_the_database_fails_is_called_again_a_few_times(self, claude: ClaudeEmulator) -> None:
        reviews(1)
        calls: list[int] = []

        def on_finished(self: Any, run: JobRun) -> None:
            calls.append(run.pk)
            raise OperationalError("no such table")

        run = job(on_finished=on_finished).start()
        fetched(run, claude)
        JobRun.objects.update(failures=5)  # of what came before, which has gone well at last
        deliver_all()
        for _try in range(10):
            let_time_come()
            with suppress(OperationalError):
                drive(run.pk)
        run.refresh_from_db()
        assert (run.state, len(calls)) == (RunState.FINISHED, 6)
        assert "no such table" in run.last_error
