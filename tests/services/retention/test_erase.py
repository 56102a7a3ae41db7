"""Everything that is stored about one row is erased and stays erased; other rows keep everything."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import OperationalError, connection, connections, models, transaction
from django.db.models import Q
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils import timezone

from django_claude_batches import job_registry, services
from django_claude_batches.exceptions import InsideTransaction, InvalidRequest
from django_claude_batches.models import (
    AccountState,
    BatchEvent,
    BatchRequest,
    BatchResult,
    DeliveryChunk,
    FailedDelivery,
    JobRun,
    MessageBatch,
    Outcome,
    RunState,
    RunTotals,
    State,
    SubmitAttempt,
    UsageRollup,
)
from django_claude_batches.models.large_columns import REMOVED_TEXT
from django_claude_batches.services.retention.erase_target import key_of
from django_claude_batches.services.runs.draft import draft as draft_page
from django_claude_batches.services.runs.drive import drive
from django_claude_batches.signals import results_ingested
from django_claude_batches.testing import ClaudeEmulator, Failure
from tests.harness.factories import item, make_due
from tests.harness.leaks import where
from tests.harness.library.models import Book, Chapter, Kiosk, Parcel, Restaurant, Review, SignedReview
from tests.harness.relay import Relay, cut, rewrite
from tests.harness.selections import slow_but
from tests.harness.shop import SCHEMA, deliver_all, effects, fetched, job, let_time_come, over, reviews

pytestmark = [pytest.mark.django_db, pytest.mark.database]

WORD = "Quetzalcoatl"


@pytest.fixture
def telling() -> Iterator[ClaudeEmulator]:
    """Claude repeats the prompt."""
    with ClaudeEmulator(seed=1, replies=lambda params, custom_id: params["messages"][-1]["content"]) as claude:
        yield claude


def rows(count: int = 3) -> list[Review]:
    """Reviews; the second one contains the secret."""
    made = reviews(count)
    Review.objects.filter(pk=made[1].pk).update(text=WORD)
    made[1].text = WORD
    return made


def about(reviews: list[Review], **params: Any) -> Iterator[dict[str, Any]]:
    for number, review in enumerate(reviews):
        words = [{"role": "user", "content": f"Tag {review.text}"}]
        yield {**item(number, messages=words, **params), "target": review}


def draft(reviews: list[Review], **options: Any) -> MessageBatch:
    return MessageBatch.objects.create_draft(about(reviews), **options)


def running(reviews: list[Review]) -> MessageBatch:
    batch = services.advance(services.submit(draft(reviews)))
    assert batch.state == State.IN_PROGRESS, batch.last_error
    return batch


def complete(reviews: list[Review], claude: ClaudeEmulator) -> MessageBatch:
    batch = running(reviews)
    claude.finish()
    services.advance(batch)
    assert batch.state == State.INGESTED, batch.last_error
    return batch


def texts(batch: MessageBatch) -> dict[str, str]:
    return {result.custom_id: result.text for result in batch.results.all()}


def columns(batch: MessageBatch) -> list[Any]:
    """Counts and costs."""
    names = ("custom_id", "result_type", "input_tokens", "output_tokens", "cost_usd", "stop_reason")
    batch.refresh_from_db()
    facts = (batch.state, batch.request_count, batch.body_bytes, batch.succeeded_count, batch.cost_usd)
    usage = UsageRollup.objects.filter(batch=batch).order_by("pk").values()
    return [facts, list(batch.results.order_by("pk").values_list(*names)), list(usage)]


class TestWhatIsThere:
    def test_it_goes_and_counts_costs_and_other_rows_stay(self, telling: ClaudeEmulator) -> None:
        made = rows()
        batch = complete(made, telling)
        before = columns(batch)
        report = services.erase(made[1])
        assert (report.requests, report.from_drafts, report.before, report.is_complete) == (1, 0, 0, True)
        made[1].delete()
        assert where(WORD) == set()
        assert texts(batch) == {"r-0": "Tag Review 0", "r-1": "", "r-2": "Tag Review 2"}
        assert columns(batch) == before
        request = batch.requests.get(custom_id="r-1")
        assert request.purge_note.startswith("Erased on ")
        assert request.result.purge_note == request.purge_note
        assert batch.requests.get(custom_id="r-0").purge_note == ""
        assert batch.events.filter(what="erased").count() == 1

    def test_again_it_does_nothing(self, telling: ClaudeEmulator) -> None:
        made = rows()
        batch = complete(made, telling)
        services.erase(made[1])
        erased_at = batch.requests.get(custom_id="r-1").erased_at
        report = services.erase(made[1])
        assert (report.requests, report.before, report.is_complete) == (0, 1, True)
        assert batch.requests.get(custom_id="r-1").erased_at == erased_at
        assert batch.events.filter(what="erased").count() == 1

    def test_of_a_row_that_is_gone_its_key_is_enough(self, telling: ClaudeEmulator) -> None:
        made = rows()
        complete(made, telling)
        key = made[1].pk
        made[1].delete()
        assert services.erase(Review(pk=key)).requests == 1
        assert where(WORD) == set()

    def test_a_proxy_is_its_model_and_another_model_is_another(self, telling: ClaudeEmulator) -> None:
        made = rows()
        batch = complete(made, telling)
        assert services.erase(Book(pk=made[1].pk)).requests == 0
        assert services.erase(SignedReview(pk=made[1].pk)).requests == 1
        assert batch.requests.filter(erased_at__isnull=False).count() == 1

    def test_keys_are_compared_byte_by_byte(self) -> None:
        chapters = [Chapter(path=path) for path in ("Ab", "ab")]  # not saved: in MySQL they would be one
        batch = MessageBatch.objects.create_draft([{**item(n), "target": each} for n, each in enumerate(chapters)])
        services.erase(Chapter(pk="ab"))
        assert list(batch.requests.values_list("object_id", flat=True)) == ["Ab"]

    @pytest.mark.parametrize("write", [str, lambda key: str(key).upper(), lambda key: key.hex, lambda key: key])
    def test_a_key_is_read_as_its_model_does(self, write: Callable[[Any], Any]) -> None:
        parcel, review = Parcel.objects.create(text=WORD), reviews(1)[0]
        targets = [parcel, review, Parcel.objects.create()]
        MessageBatch.objects.create_draft([{**item(n), "target": each} for n, each in enumerate(targets)])
        assert services.erase(Parcel(pk=write(parcel.pk))).from_drafts == 1
        assert services.erase(Review(pk=f"0{review.pk}")).from_drafts == 1

    @pytest.mark.parametrize("row", [Review(pk="x"), Parcel(pk="17"), Review(pk=[1])])
    def test_what_is_no_key_is_refused(self, row: Any) -> None:
        with pytest.raises(InvalidRequest, match="is not a key of library"):
            services.erase(row)

    def test_composite_keys_are_written_as_json(self) -> None:
        with isolate_apps("tests.harness.library"):

            class Shelf(models.Model):  # noqa: DJ008
                pk = models.CompositePrimaryKey("house", "number")
                house = models.UUIDField()
                number = models.IntegerField()

                class Meta:
                    app_label = "library"

        house = uuid.uuid4()
        key = Shelf(pk=(house, 1)).pk
        assert key_of(Shelf, f'["{house}", 1]') == key_of(Shelf, (house.hex, "1")) == key
        for wrong in ("(1, 2)", f'["{house}"]', "x", "1"):
            with pytest.raises(InvalidRequest, match=r"is not a key of library\.Shelf: write a composite one as JSON"):
                key_of(Shelf, wrong)

    def test_parents_and_children_of_the_same_key_are_the_same_row(self) -> None:
        restaurant = Restaurant.objects.create(name=WORD)
        place, kiosk = restaurant.place_ptr, Kiosk.objects.create(number=restaurant.pk)
        for row in (place, restaurant):
            targets: list[Any] = [place, restaurant, kiosk]
            batch = MessageBatch.objects.create_draft([{**item(n), "target": each} for n, each in enumerate(targets)])
            assert services.erase(row).from_drafts == 2
            assert batch.requests.get().target == kiosk

    def test_a_key_of_another_type(self) -> None:
        parcel = Parcel.objects.create(text=WORD)
        batch = MessageBatch.objects.create_draft([{**item(0), "target": parcel}, item(1)])
        assert services.erase(Parcel(pk=parcel.pk)).from_drafts == 1
        batch.refresh_from_db()
        assert batch.request_count == 1

    def test_what_is_no_row_is_refused(self) -> None:
        with pytest.raises(InvalidRequest, match="saved model instance"):
            services.erase(Review())
        with pytest.raises(InvalidRequest, match="nothing to erase"):
            services.erase(None)  # type: ignore[arg-type]

    @pytest.mark.django_db(transaction=True)
    def test_not_inside_a_transaction(self) -> None:
        with transaction.atomic(), pytest.raises(InsideTransaction):
            services.erase(Review(pk=1))

    @pytest.mark.slow
    def test_it_says_what_anthropic_has(self, telling: ClaudeEmulator) -> None:
        made = rows()
        batch, other = complete(made, telling), running(made)
        MessageBatch.objects.filter(pk=complete(made, telling).pk).update(remote_deleted_at=timezone.now())
        old = complete(made, telling)
        MessageBatch.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=30))
        copies = services.erase(made[1]).copies
        assert {(copy.batch, copy.anthropic_id) for copy in copies} == {
            (batch.pk, batch.anthropic_id),
            (other.pk, other.anthropic_id),
        }
        assert next(copy for copy in copies if copy.batch == other.pk).until is None
        assert services.erase(made[1]).copies == copies, "as often as it is asked"

    def test_it_says_what_was_made_twice(self, telling: ClaudeEmulator) -> None:
        made = rows()
        batch, other = running(made), running(made[:1])
        now = timezone.now()
        for number, (remote_id, sent_at) in enumerate(
            {"second": now, "old": now - timedelta(days=30), other.anthropic_id: now}.items(), 2
        ):
            batch.attempts.create(number=number, tag=str(number), recorded_at=now, sent_at=sent_at, remote_id=remote_id)
        copies = services.erase(made[1]).copies
        assert [(copy.batch, copy.anthropic_id, copy.is_second) for copy in copies] == [
            (batch.pk, batch.anthropic_id, False),
            (batch.pk, "second", True),
        ]


class TestWords:
    def test_of_receivers_go_and_that_they_raised_stays(self, telling: ClaudeEmulator, settings: Any) -> None:
        settings.CLAUDE_BATCHES = {"KICK": False, "ANNOUNCE_ATTEMPTS": 1}
        made = rows()

        def receive(**kwargs: Any) -> None:
            raise LookupError(WORD)

        results_ingested.connect(receive)
        try:
            batch = complete(made, telling)
        finally:
            results_ingested.disconnect(receive)
        assert {"MessageBatch.last_error", "BatchEvent.text"} <= where(WORD)
        services.erase(made[1])
        made[1].delete()
        assert where(WORD) == set()
        batch.refresh_from_db()
        assert REMOVED_TEXT in batch.attention()

    def test_of_handlers_go_and_the_row_counts_as_gone(self, telling: ClaudeEmulator) -> None:
        made = rows()

        def on_result(self: Any, review: Review, result: Any) -> None:
            raise LookupError(result.text)

        run = over(job(on_result=on_result).start(), telling)
        assert "FailedDelivery.error" in where(WORD)
        before = RunTotals.of(run)
        services.erase(made[1])
        totals = RunTotals.of(run)
        assert (before.failed_deliveries, before.gone, totals.failed_deliveries, totals.gone) == (3, 0, 2, 1)
        made[1].delete()
        assert where(WORD) == set()
        job()
        services.redeliver_failed(run)
        deliver_all()
        assert effects() == [1, 1]

    def test_of_a_run_that_paused_at_the_row(self, telling: ClaudeEmulator) -> None:
        made = rows()

        def get_prompt(self: Any, review: Review) -> str:
            if review.text == WORD:
                raise LookupError(WORD)
            return review.text

        run = over(job(get_prompt=get_prompt).start(), telling)
        assert "JobRun.pause_reason" in where(WORD)
        report = services.erase(made[1])
        assert report.is_complete
        made[1].delete()
        run.refresh_from_db()
        assert (where(WORD), run.is_paused, run.pause_reason) == (set(), True, REMOVED_TEXT)

    @pytest.mark.parametrize("is_gone", [True, False])
    def test_of_a_run_whose_model_nobody_knows(self, is_gone: bool) -> None:
        made = rows()

        def get_prompt(self: Any, review: Review) -> str:
            raise LookupError(WORD)

        run = job(get_prompt=get_prompt).start()
        drive(run.pk)
        job(get_queryset=lambda self: 1 / 0)
        if is_gone:
            job_registry.unregister(run.job)
        assert "JobRun.pause_reason" in where(WORD)
        services.erase(made[1])
        made[1].delete()
        assert where(WORD) == set()

    def test_and_not_of_a_run_over_another_model(self) -> None:
        made = rows()
        run = job(get_queryset=lambda self: Book.objects.all()).start()
        JobRun.objects.filter(pk=run.pk).update(pause_reason="It is wet.", paused_at=timezone.now())
        assert services.erase(made[1]).is_complete
        run.refresh_from_db()
        assert run.pause_reason == "It is wet."

    @pytest.mark.parametrize(
        ("reason", "what", "stays"),
        [
            ("Anthropic answered 402: pay", "submitted", True),
            ("Anthropic answered 401 authentication_error", "account_paused", True),
            (f"Anthropic answered 400: {WORD}", "account_paused", False),
        ],
    )
    def test_of_an_account_s_pause_go_if_it_was_the_batch_s(self, reason: str, what: str, stays: bool) -> None:
        made = rows()
        batch = draft(made)
        batch.log_event(what, "")
        AccountState.objects.update_or_create(
            alias="default", defaults={"paused_at": timezone.now(), "pause_reason": reason}
        )
        services.erase(made[1])
        assert AccountState.objects.get().pause_reason == (reason if stays else REMOVED_TEXT)

    def test_of_a_delivery_that_is_not_tried_again(self, telling: ClaudeEmulator) -> None:
        made = rows()
        run = job().start()
        fetched(run, telling)
        DeliveryChunk.objects.update(next_action_at=None, last_error=WORD)
        services.erase(made[1])
        assert DeliveryChunk.objects.get().last_error == REMOVED_TEXT

    def test_lines_that_were_no_results(self, telling: ClaudeEmulator) -> None:
        made = rows()
        with Relay(telling.url) as relay:
            relay.on("GET", "/results", rewrite(lambda body: f'{{"text": "{WORD}\n'.encode() + body))
            batch = complete(made, telling)
        assert "ResultProblem.excerpt" in where(WORD)
        services.erase(made[1])
        made[1].delete()
        assert (where(WORD), batch.problems.count()) == (set(), 1)


class TestWhatComesLater:
    def test_an_answer_is_counted_and_dropped(self, telling: ClaudeEmulator) -> None:
        made = rows()
        batch, twin = running(made), running(made)
        services.erase(made[1])
        BatchRequest.objects.filter(batch=twin).update(erased_at=None)
        telling.finish()
        services.advance(batch), services.advance(twin)
        assert (batch.state, batch.missing_count, batch.succeeded_count) == (State.INGESTED, 0, 3)
        assert texts(batch) == {"r-0": "Tag Review 0", "r-1": "", "r-2": "Tag Review 2"}
        assert sorted(map(str, columns(batch)[1])) == sorted(map(str, columns(twin)[1]))
        assert (batch.cost_usd is not None, batch.cost_usd) == (True, twin.cost_usd)

    def test_an_error_s_words_and_the_original_line_too(self) -> None:
        made = rows()
        failure = Failure("invalid_request_error", WORD, while_running=True)
        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: failure) as claude:
            batch = running(made)
            services.erase(made[1])
            claude.finish()
            services.advance(batch)
        errors = dict(batch.results.values_list("custom_id", "error_message"))
        assert errors == {"r-0": WORD, "r-1": "", "r-2": WORD}
        assert batch.results.errored().count() == 3

    def test_a_line_that_cannot_be_read_may_be_the_answer(self, telling: ClaudeEmulator) -> None:
        made = rows()
        batch = running(made)
        services.erase(made[1])
        made[1].delete()
        telling.finish()
        with Relay(telling.url) as relay:
            relay.on("GET", "/results", rewrite(lambda body: body + body))  # each line a second time
            services.advance(batch)
        assert (batch.state, batch.problems.count()) == (State.INGESTED, 3)
        assert where(WORD) == set()

    def test_fetching_again_does_not_bring_it_back(self, telling: ClaudeEmulator) -> None:
        made = rows()
        batch = complete(made, telling)
        services.erase(made[1])
        made[1].delete()
        services.advance(services.reingest(batch))
        assert (batch.state, where(WORD)) == (State.INGESTED, set())
        BatchResult.objects.filter(batch=batch).delete()
        services.advance(services.reingest(batch))
        assert (batch.state, where(WORD), batch.stored_count) == (State.INGESTED, set(), 3)

    def test_a_download_that_broke_goes_on_without_it(self, telling: ClaudeEmulator) -> None:
        made = rows()
        batch = running(made)
        telling.finish()
        with Relay(telling.url) as relay:
            relay.on("GET", "/results", cut(lambda body: body[: body.index(b"\n") + 1]), times=1)
            services.advance(batch)
            assert batch.stored_count < 3
            services.erase(made[1])
            made[1].delete()
            make_due(batch)
            services.advance(batch)
        assert (batch.state, batch.stored_count, where(WORD)) == (State.INGESTED, 3, set())

    def test_it_is_not_asked_again(self, telling: ClaudeEmulator) -> None:
        made = rows()
        batch = complete(made, telling)
        batch.results.update(result_type="errored")
        services.erase(made[1])
        child = services.retry(batch)
        assert sorted(child.requests.values_list("custom_id", flat=True)) == ["r-0", "r-2"]
        services.erase(made[0]), services.erase(made[2])
        with pytest.raises(InvalidRequest, match="has no request here"):
            services.retry(batch)

    @pytest.mark.slow
    def test_it_is_not_asked_again_by_a_run(self) -> None:
        made = rows()
        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: WORD) as claude:
            run = job(output_schema=SCHEMA, max_attempts=2).start()
            fetched(run, claude)
            deliver_all()
            assert "BatchResult.output_error" in where(WORD) or "BatchResult.message" in where(WORD)
            assert [len(chunk.to_retry) for chunk in DeliveryChunk.objects.all()] == [3]
            services.erase(made[1])
            over(run, claude)
        assert run.state == RunState.FINISHED, run.pause_reason
        child = run.batches.get(run_attempt=2)
        assert (child.request_count, child.requests.filter(object_id=made[1].pk).exists()) == (2, False)
        totals = RunTotals.of(run)
        assert (totals.failed, totals.gone, totals.to_retry) == (2, 1, 0)
        with ClaudeEmulator(seed=1):
            services.erase(made[0])
            assert services.retry_run(run) == 1

    def test_it_is_not_delivered(self, telling: ClaudeEmulator) -> None:
        made = rows()
        run = job().start()
        fetched(run, telling)
        services.erase(made[1])
        over(run, telling)
        assert (run.state, effects()) == (RunState.FINISHED, [1, 0, 1])
        totals = RunTotals.of(run)
        assert (totals.delivered, totals.gone, totals.outcomes["succeeded"]) == (2, 1, 3)
        services.redeliver(run.batches.get())
        deliver_all()
        assert effects() == [2, 0, 2]

    @pytest.mark.slow
    def test_it_is_not_delivered_where_it_is_fetched_later(self, telling: ClaudeEmulator) -> None:
        made = rows()
        run = job().start()
        services.advance_run(run)
        services.erase(made[1])
        telling.finish()
        over(run, telling)
        assert (run.state, effects()) == (RunState.FINISHED, [1, 0, 1])

    def test_what_a_retry_drafted_meanwhile_goes_too(self, telling: ClaudeEmulator) -> None:
        made = rows()
        batch = complete(made, telling)
        batch.results.update(result_type="errored")
        child = services.retry(batch)
        report = services.erase(made[1])
        assert (report.requests, report.from_drafts) == (1, 1)
        assert child.requests.count() == 2


class TestDrafts:
    def test_they_lose_the_request_and_are_sent_without_it(self, telling: ClaudeEmulator) -> None:
        made = rows(4)
        batch, other = draft(made), draft([made[0], made[3], made[2]])
        report = services.erase(made[1])
        assert (report.requests, report.from_drafts, report.is_complete) == (0, 1, True)
        batch.refresh_from_db()
        made[1].delete()
        assert where(WORD) == set()
        places = list(batch.requests.order_by("position").values_list("position", "custom_id"))
        assert places == [(0, "r-0"), (1, "r-3"), (2, "r-2")]
        same = ("request_count", "body_bytes", "expected_usage")
        assert [getattr(batch, name) for name in same] == [getattr(other, name) for name in same]
        services.advance(services.submit(batch))
        telling.finish()
        services.advance(batch)
        assert (batch.state, batch.missing_count, batch.stored_count) == (State.INGESTED, 0, 3)

    def test_one_that_has_no_other_is_deleted(self) -> None:
        made = rows()
        batch = draft([made[1]])
        assert services.erase(made[1]).from_drafts == 1
        assert not MessageBatch.objects.filter(pk=batch.pk).exists()

    def test_all_of_a_row_s_requests(self) -> None:
        made = rows()
        batch = draft([made[1], made[0], made[1], made[1]])
        services.erase(made[1])
        assert list(batch.requests.values_list("position", "custom_id")) == [(0, "r-1")]

    def test_a_run_has_that_row_no_more(self, telling: ClaudeEmulator) -> None:
        made = rows()
        run = job().start()
        drive(run.pk)
        services.erase(made[1])
        made[1].delete()
        over(run, telling)
        totals = RunTotals.of(run)
        assert (run.state, totals.rows, totals.delivered) == (RunState.FINISHED, 2, 2)

    def test_a_run_all_of_whose_rows_are_erased_asks_none_again(self) -> None:
        made = rows()

        def get_prompt(self: Any, review: Review) -> str:
            if review.pk == made[2].pk:
                raise LookupError
            return review.text

        run = job(get_prompt=get_prompt).start()
        drive(run.pk)
        services.erase(made[0]), services.erase(made[1])
        run.refresh_from_db()
        assert (run.is_paused, run.row_count, run.batches.count()) == (True, 0, 0)
        job()
        drive(services.resume_run(run).pk)
        assert list(BatchRequest.objects.values_list("object_id", flat=True)) == [str(made[2].pk)]

    def test_a_run_goes_on_behind_it(self, telling: ClaudeEmulator) -> None:
        made = rows()
        run = job().start()
        run.change(Q(state=RunState.DRAFTING), next_action_at=timezone.now())
        drive(run.pk)
        services.erase(made[1])
        over(run, telling)
        assert (run.state, effects()) == (RunState.FINISHED, [1, 0, 1])

    @pytest.mark.slow
    def test_one_that_its_run_still_fills_is_closed(self, telling: ClaudeEmulator) -> None:
        """The keys are not custom_ids: the next one would be the position that the last one had."""
        made = rows(25)
        run = job().start()
        token = JobRun.objects.acquire(run.pk) or ""
        assert draft_page(run, token, job_registry.find(run.job))
        JobRun.objects.release(run.pk, token)
        batch = run.batches.get(is_filling=True)
        for request in batch.requests.all():
            batch.requests.filter(pk=request.pk).update(custom_id=str(request.position))
        report = services.erase(made[1])
        assert (report.from_drafts, len(report.leased)) == (1, 1)
        let_time_come()
        over(run, telling)
        assert (run.state, sorted(run.batches.values_list("request_count", flat=True))) == (RunState.FINISHED, [5, 19])
        assert effects() == [1, 0] + [1] * 23

    def test_one_that_was_refused_by_anthropic(self, telling: ClaudeEmulator) -> None:
        made = rows()
        batch = draft(made)
        refused = {"state": State.REJECTED, "last_error": f"requests.1: {WORD}"}
        MessageBatch.objects.filter(pk=batch.pk).update(**refused)
        SubmitAttempt.objects.create(
            batch=batch, number=1, tag="x" * 13, recorded_at=timezone.now(), outcome=Outcome.REFUSED
        )
        assert services.erase(made[1]).from_drafts == 1
        made[1].delete()
        assert where(WORD) == set()

    @pytest.mark.parametrize(
        ("state", "why"),
        [
            (State.QUEUED, "is about to be sent"),
            (State.SUBMITTING, "is being sent"),
            (State.UNCERTAIN, "may have to be sent again"),
            (State.HELD, "may still appear at Anthropic"),
        ],
    )
    def test_one_that_is_being_sent_refuses_and_says_why(self, state: State, why: str) -> None:
        made = rows()
        batch = draft(made)
        now = timezone.now()
        SubmitAttempt.objects.create(
            batch=batch, number=1, tag="x" * 13, recorded_at=now, sent_at=now, outcome=Outcome.NOT_RECEIVED
        )
        MessageBatch.objects.filter(pk=batch.pk).update(state=state, queued_at=now, next_action_at=now)
        before = list(BatchRequest.objects.values())
        report = services.erase(made[1])
        assert (report.requests, report.from_drafts, report.is_complete, len(report.refused)) == (0, 0, False, 1)
        assert why in report.refused[0]
        assert f"#{batch.pk}" in report.refused[0]
        assert list(BatchRequest.objects.values()) == before
        MessageBatch.objects.filter(pk=batch.pk).update(state=State.ABANDONED, next_action_at=None)
        assert services.erase(made[1]).requests == 1

    def test_taken_back_it_goes(self) -> None:
        made = rows()
        batch = services.submit(draft(made))
        assert not services.erase(made[1]).is_complete
        services.cancel(batch)
        assert services.erase(made[1]).from_drafts == 1


class TestBesideOthers:
    def test_nothing_is_erased_while_another_process_works(self, telling: ClaudeEmulator) -> None:
        made = rows()
        batch = complete(made, telling)
        rows_ = MessageBatch.objects.all()
        token = rows_.acquire(batch.pk)
        report = services.erase(made[1])
        assert (report.requests, report.is_complete, len(report.leased)) == (0, False, 1)
        assert batch.requests.filter(erased_at__isnull=False).count() == 0
        rows_.release(batch.pk, token or "")
        assert services.erase(made[1]).is_complete

    @pytest.mark.django_db(transaction=True)
    def test_what_a_handler_raises_meanwhile_goes_with_the_next_call(self, telling: ClaudeEmulator) -> None:
        """Two connections. MySQL waits for the handler's transaction, PostgreSQL reports a busy process."""
        if connection.vendor == "sqlite":
            pytest.skip("an in-memory SQLite has one connection")
        made = rows()
        is_called, may_go = threading.Event(), threading.Event()

        def on_result(self: Any, review: Review, result: Any) -> None:
            if review.pk == made[1].pk:
                is_called.set()
                may_go.wait(60)
                raise LookupError(result.text)

        def deliver() -> None:
            deliver_all()
            connections.close_all()

        run = job(on_result=on_result).start()
        fetched(run, telling)
        worker = threading.Thread(target=deliver)
        worker.start()
        assert is_called.wait(60)
        threading.Timer(1, may_go.set).start()
        first = services.erase(made[1])
        worker.join(60)
        if connection.vendor == "postgresql":
            assert (first.requests, len(first.leased)) == (0, 1)
        assert services.erase(made[1]).is_complete
        made[1].delete()
        assert (where(WORD), FailedDelivery.objects.count()) == (set(), 0)

    def test_a_delivery_that_is_begun_meanwhile(self, telling: ClaudeEmulator) -> None:
        """It is cut, and leased by a worker, after the deliveries were read and before their batch is locked."""
        made = rows()
        run = over(job().start(), telling)
        begun: list[str | None] = []

        def begin(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if begun or not sql.startswith("SELECT") or "last_position" not in sql:
                return execute(sql, params, many, context)
            begun.append(None)
            found = execute(sql, params, many, context)
            services.redeliver(run.batches.get())
            begun[0] = DeliveryChunk.objects.acquire(DeliveryChunk.objects.undone().get().pk)
            return found

        with connection.execute_wrapper(begin):
            report = services.erase(made[1])
        assert begun[0]
        assert (report.requests, len(report.leased)) == (0, 1)
        let_time_come()
        assert services.erase(made[1]).requests == 1

    @pytest.mark.parametrize(
        ("error", "is_passing"),
        slow_but(
            2,
            [
                (OperationalError(1213, "Deadlock found when trying to get lock; try restarting transaction"), True),
                (OperationalError("database is locked"), True),
                (OperationalError(2006, "Server has gone away"), False),
                (OperationalError("server closed the connection unexpectedly"), False),
            ],
        ),
    )
    @pytest.mark.django_db(transaction=True)
    def test_a_deadlock_is_work_that_is_going_on(
        self, telling: ClaudeEmulator, error: OperationalError, is_passing: bool
    ) -> None:
        made = rows()
        batch = complete(made, telling)

        def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if sql.startswith("UPDATE") and BatchResult._meta.db_table in sql:
                raise error
            return execute(sql, params, many, context)

        with connection.execute_wrapper(fail):
            if is_passing:
                report = services.erase(made[1])
                assert (report.requests, len(report.leased)) == (0, 1)
            else:
                with pytest.raises(OperationalError):
                    services.erase(made[1])
        assert batch.requests.filter(erased_at__isnull=False).count() == 0
        assert services.erase(made[1]).is_complete

    @pytest.mark.django_db(transaction=True)
    def test_so_is_a_lock_of_another_connection(self, telling: ClaudeEmulator) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("an in-memory SQLite has one connection")
        made = rows()
        batch = complete(made, telling)
        is_locked, may_go = threading.Event(), threading.Event()

        def lock() -> None:
            with transaction.atomic():
                batch.results.update(model="x")
                is_locked.set()
                may_go.wait(60)
            connections.close_all()

        other = threading.Thread(target=lock)
        other.start()
        assert is_locked.wait(60)
        setting = "innodb_lock_wait_timeout = 1" if connection.vendor == "mysql" else "lock_timeout = 100"
        with connection.cursor() as cursor:
            cursor.execute(f"SET {setting}")
        report = services.erase(made[1])
        may_go.set()
        other.join(60)
        connection.close()  # its setting too
        assert (report.requests, len(report.leased)) == (0, 1)
        assert services.erase(made[1]).is_complete

    def test_a_run_that_is_being_drafted_may_have_read_the_row(self) -> None:
        made = rows()
        run = job().start()
        report = services.erase(made[1])
        assert not report.is_complete
        assert f"Run #{run.pk}" in report.leased[0]

    @pytest.mark.parametrize("raises", [False, True])
    def test_also_where_it_is_drafted_meanwhile(self, raises: bool) -> None:
        """A worker that had read the row commits when its requests were looked for: all is drafted, or it pauses."""
        made = rows()

        def get_prompt(self: Any, review: Review) -> str:
            if raises:
                raise LookupError(review.text)
            return review.text

        run = job(get_prompt=get_prompt).start()
        Review.objects.exclude(pk=made[1].pk).delete()
        looked: list[str] = []

        def commit(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            found = execute(sql, params, many, context)
            if not looked and BatchRequest._meta.db_table in sql:
                looked.append(sql)
                drive(run.pk)
            return found

        with connection.execute_wrapper(commit):
            report = services.erase(made[1])
        assert looked
        assert (report.is_complete, len(report.leased)) == (False, 1)
        assert services.erase(made[1]).is_complete
        made[1].delete()
        assert where(WORD) == set()

    @pytest.mark.django_db(transaction=True)
    def test_an_ingest_that_began_before_writes_nothing_after(self, telling: ClaudeEmulator) -> None:
        """Its process was suspended until its lease expired; two connections."""
        if connection.vendor == "sqlite":
            pytest.skip("an in-memory SQLite has one connection")
        made = rows()
        batch = running(made)
        telling.finish()
        came, may_go = threading.Event(), threading.Event()

        def wait(body: bytes) -> bytes:
            came.set()
            may_go.wait(60)
            return body

        def advance() -> None:
            services.advance(MessageBatch.objects.get(pk=batch.pk))
            connections.close_all()

        with Relay(telling.url) as relay:
            relay.on("GET", "/results", rewrite(wait), times=1)
            worker = threading.Thread(target=advance)
            worker.start()
            assert came.wait(60)
            assert services.erase(made[1]).leased
            past = timezone.now() - timedelta(minutes=1)
            MessageBatch.objects.filter(pk=batch.pk).update(lease_until=past)
            assert services.erase(made[1]).requests == 1
            may_go.set()
            worker.join(60)
            made[1].delete()
            assert where(WORD) == set()
            make_due(batch)
            batch.refresh_from_db()
            services.advance(batch)
        assert (batch.state, batch.stored_count, where(WORD)) == (State.INGESTED, 3, set())

    @pytest.mark.django_db(transaction=True)
    def test_a_retry_that_began_before_is_waited_for(self, telling: ClaudeEmulator) -> None:
        """It has read the request, and will commit a copy of it; two connections."""
        if connection.vendor == "sqlite":
            pytest.skip("an in-memory SQLite has one connection")
        made = rows()
        batch = complete(made, telling)
        batch.results.update(result_type="errored")
        has_copied, may_go = threading.Event(), threading.Event()

        def wait(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if sql.startswith("INSERT") and BatchEvent._meta.db_table in sql:
                has_copied.set()
                may_go.wait(60)
            return execute(sql, params, many, context)

        def retry() -> None:
            with connection.execute_wrapper(wait):
                services.retry(MessageBatch.objects.get(pk=batch.pk))
            connections.close_all()

        retrier = threading.Thread(target=retry)
        retrier.start()
        assert has_copied.wait(60)
        threading.Timer(1, may_go.set).start()  # this thread cannot observe that the other one waits
        report = services.erase(made[1])
        retrier.join(60)
        assert (report.requests, report.from_drafts) == (1, 1)
        made[1].delete()
        assert where(WORD) == set()


class TestInterrupted:
    @pytest.mark.slow
    @pytest.mark.django_db(transaction=True)
    def test_what_is_left_goes_the_next_time(self, telling: ClaudeEmulator) -> None:
        """Killed before any of its statements: each batch is erased whole or not at all; a repeat does the rest."""
        made = rows()
        batches = [complete(made, telling) for _ in range(2)]
        batches[0].results.filter(custom_id="r-1").update(raw=WORD.encode())
        kills = 0
        while killed_at(kills, lambda: services.erase(made[1])):
            kills += 1
            MessageBatch.objects.exclude(lease_token="").update(lease_until=timezone.now() - timedelta(hours=1))
            for batch in batches:
                request = batch.requests.get(custom_id="r-1")
                is_gone = not request.params_text and not request.result.text and not request.result.raw
                assert is_gone == (request.erased_at is not None)
            services.erase(made[1])
            assert all(batch.requests.get(custom_id="r-1").erased_at for batch in batches)
            restore(batches, made[1])
        assert kills > 30
        services.erase(made[1])
        made[1].delete()
        assert where(WORD) == set()


class Killed(BaseException):
    pass


def killed_at(number: int, call: Callable[[], object]) -> bool:
    """Call it in a process that dies before its n-th statement, and return whether it got that far."""
    done = 0

    def strike(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal done
        done += 1
        if done > number:
            raise Killed  # a dead process does nothing more: it does not release its leases either
        return execute(sql, params, many, context)

    try:
        with connection.execute_wrapper(strike):
            call()
    except Killed:
        return True
    return False


def restore(batches: list[MessageBatch], review: Review) -> None:
    for batch in batches:
        request = batch.requests.get(custom_id="r-0")
        batch.requests.filter(custom_id="r-1").update(params_text=request.params_text, erased_at=None)
        batch.results.filter(custom_id="r-1").update(message=request.result.message, raw=WORD.encode())


class TestLarge:
    def test_it_looks_by_indexes(self, telling: ClaudeEmulator) -> None:
        if connection.vendor != "postgresql":
            pytest.skip("EXPLAIN (FORMAT JSON) is PostgreSQL's")
        made = rows()
        batch = complete(made, telling)
        fill(batch)
        with CaptureQueriesContext(connection) as captured:
            assert services.erase(made[1]).requests == 1
        tables = tuple(model._meta.db_table for model in (BatchRequest, BatchResult))
        looked = [entry["sql"] for entry in captured if any(table in entry["sql"] for table in tables)]
        assert len(looked) >= 4
        with connection.cursor() as cursor:
            for sql in looked:
                cursor.execute("EXPLAIN " + sql.replace("%", "%%"), [])
                plan = "\n".join(line for (line,) in cursor.fetchall())
                assert not any(f"Seq Scan on {table}" in plan for table in tables), f"{sql}\n{plan}"

    @pytest.mark.slow
    def test_a_row_with_many_requests_is_erased_in_parts(self) -> None:
        made = rows()
        batch = draft([made[1]] * 1001)
        MessageBatch.objects.filter(pk=batch.pk).update(state=State.ABANDONED)
        with CaptureQueriesContext(connection) as captured:
            assert services.erase(made[1]).requests == 1001
        assert len(captured) < 100
        assert batch.events.filter(what="erased").order_by("pk").values_list("text", flat=True)[0] == "1,000 requests"
        assert not batch.requests.exclude(params_text="").exists()


def fill(batch: MessageBatch) -> None:
    """Add 20,000 requests of other rows, with results."""
    request, result = BatchRequest._meta.db_table, BatchResult._meta.db_table
    content_type = ContentType.objects.get_for_model(Review).pk
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {request} (batch_id, position, custom_id, model, params, params_bytes, content_type_id, "
            "object_id) SELECT %s, n, 'x-' || n, 'm', repeat('x', 300), 300, %s, 'x-' || n "
            "FROM generate_series(3, 20000) n",
            [batch.pk, content_type],
        )
        cursor.execute(
            f"INSERT INTO {result} (batch_id, request_id, custom_id, result_type, stop_reason, model, service_tier, "
            "inference_geo, error_type, error_message, error_request_id) SELECT batch_id, id, custom_id, 'succeeded', "
            f"'', 'm', '', '', '', '', '' FROM {request} WHERE custom_id LIKE 'x-%%'",
            [],
        )
        cursor.execute("ANALYZE")
