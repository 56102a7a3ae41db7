"""The rows that handlers get: of the class that `get_queryset` gives, and as they are now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import OperationalError, connection, models
from django.db.models import F, Value
from django.test.utils import CaptureQueriesContext

from django_claude_batches import services
from django_claude_batches.jobs import BatchJob
from django_claude_batches.models import DeliveryChunk, FailedDelivery, MessageBatch, RunState
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import item
from tests.harness.library.models import (
    Book,
    Kiosk,
    ModeratedReview,
    Parcel,
    Place,
    PlaceQuerySet,
    Restaurant,
    Review,
    SignedReview,
)
from tests.harness.selections import slow_but
from tests.harness.shop import BAD, OVERLOADED, deliver_all, effects, fetched, job, let_time_come, over, reviews
from tests.services.delivery.test_late_results import fetch_again, incomplete

pytestmark = [pytest.mark.django_db, pytest.mark.database]

Handler = Callable[[Any, Any, Any], None]


def signing(**members: Any) -> Any:
    """A job over a proxy whose `save` and method are its own."""

    def on_result(self: Any, review: SignedReview, result: Any) -> None:
        review.tags = review.sign("tagged")
        review.effects += 1
        review.save()

    return job(**{"get_queryset": lambda self: SignedReview.objects.filter(tags=""), "on_result": on_result, **members})


def tags() -> list[str]:
    return list(Review.objects.order_by("pk").values_list("tags", flat=True))


def noting(seen: list[Any]) -> Handler:
    return lambda self, row, result: seen.append(row)


class TestProxy:
    SIGNED = "tagged, signed, signed"

    def test_a_handler_gets_the_proxy(self, claude: ClaudeEmulator) -> None:
        reviews(3)
        run = over(signing().start(), claude)
        assert (run.state, tags(), effects()) == (RunState.FINISHED, [self.SIGNED] * 3, [1] * 3)
        assert FailedDelivery.objects.count() == 0

    def test_so_it_does_when_delivered_again(self, claude: ClaudeEmulator) -> None:
        reviews(2)
        signed = signing()
        run = over(signed.start(), claude)
        signed.redeliver(run.batches.get())
        deliver_all()
        assert (effects(), FailedDelivery.objects.count()) == ([2, 2], 0)

    def test_so_it_does_when_its_code_was_fixed(self, claude: ClaudeEmulator) -> None:
        reviews(2)
        run = over(signing(on_result=lambda self, review, result: 1 / 0).start(), claude)
        assert FailedDelivery.objects.count() == 2
        signing()
        services.redeliver_failed(run)
        deliver_all()
        assert (tags(), FailedDelivery.objects.count()) == ([self.SIGNED] * 2, 0)

    @pytest.mark.slow
    def test_on_failure_gets_it_and_a_retry_too(self) -> None:
        reviews(1)
        seen: list[Any] = []
        answers = iter([BAD, OVERLOADED, "warm"])
        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: next(answers)) as claude:
            run = over(signing(on_failure=noting(seen)).start(), claude)
            assert [type(row) for row in seen] == [SignedReview]
            services.retry_run(run)
            over(run, claude)
        assert (run.batches.count(), tags()) == (3, [self.SIGNED])

    @pytest.mark.slow
    def test_late_results_too(self, claude: ClaudeEmulator) -> None:
        reviews(3)
        seen: list[Any] = []
        batch = incomplete(signing(on_failure=noting(seen), max_attempts=1).start(), claude)
        fetch_again(batch)
        deliver_all()
        assert ([type(row) for row in seen], tags()) == ([SignedReview], [self.SIGNED] * 3)


@pytest.mark.parametrize(
    ("queryset", "expected"),
    slow_but(
        2,
        [
            (Place.objects.all, Place),
            (Restaurant.objects.all, Restaurant),
            (lambda: Restaurant.objects.only("stars"), Restaurant),
            (lambda: Place.objects.defer("name"), Place),
            (Parcel.objects.all, Parcel),
            (lambda: Place.objects.annotate(one=Value(1)).order_by("-name"), Place),
        ],
    ),
)
def test_any_model_is_found_again_whole(claude: ClaudeEmulator, queryset: Any, expected: type[models.Model]) -> None:
    Restaurant.objects.create(name="One", stars=3)
    Parcel.objects.create(text="One")
    seen: list[Any] = []
    over(job(get_queryset=lambda self: queryset(), get_prompt=str, on_result=noting(seen)).start(), claude)
    assert ([type(row) for row in seen], seen[0].get_deferred_fields()) == ([expected], set())


class TestGetTargets:
    def test_is_asked_once_for_many_rows(self, claude: ClaudeEmulator) -> None:
        rows = reviews(20)
        asked: list[Sequence[Any]] = []
        seen: list[Any] = []

        def get_targets(self: Any, pks: Sequence[Any]) -> Any:
            asked.append(pks)
            return SignedReview.objects.filter(pk__in=pks).annotate(longer=F("effects") + 7).select_for_update()

        run = signing(get_targets=get_targets, on_result=noting(seen)).start()
        fetched(run, claude)
        with CaptureQueriesContext(connection) as captured:
            deliver_all()
        assert [sorted(pks) for pks in asked] == [[row.pk for row in rows]], "as values of the key's type"
        assert ([type(row) for row in seen], {row.longer for row in seen}) == ([SignedReview] * 20, {7})
        assert len([query for query in captured if "library_review" in query["sql"]]) == 1

    def test_finds_what_the_base_manager_hides(self, claude: ClaudeEmulator) -> None:
        reviews(2)
        is_broken = [True]

        def on_result(self: Any, review: Review, result: Any) -> None:
            Review.objects.filter(pk=review.pk).update(effects=F("effects") + 1)
            if is_broken:
                raise LookupError("no shelf")

        members = {"get_queryset": lambda self: ModeratedReview.objects.all(), "on_result": on_result}
        plain = job(**members)
        run = plain.start()
        fetched(run, claude)
        Review.objects.update(text="deleted")
        deliver_all()
        assert (DeliveryChunk.objects.get().gone_count, effects()) == (2, [0, 0])
        finding = job(
            **members, get_targets=lambda self, pks: ModeratedReview.everything.filter(pk__in=pks).order_by("-pk")
        )
        finding.redeliver(over(run, claude).batches.get())
        deliver_all()
        assert [row.error for row in FailedDelivery.objects.all()] == ["LookupError: no shelf"] * 2
        is_broken.clear()
        services.redeliver_failed(run)
        deliver_all()
        assert (effects(), FailedDelivery.objects.count()) == ([1, 1], 0)

    def test_may_leave_rows_out(self, claude: ClaudeEmulator) -> None:
        rows = reviews(3)
        kept = {rows[0].pk, rows[2].pk}
        run = over(job(get_targets=lambda self, pks: Review.objects.filter(pk__in=kept & {*pks})).start(), claude)
        assert (run.state, effects()) == (RunState.FINISHED, [1, 0, 1])
        assert DeliveryChunk.objects.get().gone_count == 1

    def test_may_be_a_generator_or_a_list(self, claude: ClaudeEmulator) -> None:
        def get_targets(self: Any, pks: Sequence[Any]) -> Any:
            yield from SignedReview.objects.filter(pk__in=pks)

        reviews(2)
        over(signing(get_targets=get_targets).start(), claude)
        assert effects() == [1, 1]

    @pytest.mark.parametrize(
        ("returned", "error"),
        slow_but(
            2,
            [
                (Review.objects.in_bulk, "TypeError: TagReviews.get_targets() must return rows of "),
                (
                    lambda pks: list(Book.objects.all()),
                    "TypeError: TagReviews.get_targets() must return rows of library.R",
                ),
                (
                    lambda pks: Review.objects.values(),
                    "TypeError: TagReviews.get_targets() must return rows of library.",
                ),
                (lambda pks: None, "TypeError: 'NoneType' object is not iterable"),
                (lambda pks: 1 / 0, "ZeroDivisionError: division by zero"),
                (lambda pks: Review.objects.filter(nothing=1), "FieldError: Cannot resolve keyword 'nothing'"),
                (
                    lambda pks: nothing(),
                    "TypeError: TagReviews.get_targets() returned a coroutine: this method must not",
                ),
            ],
        ),
    )
    def test_that_is_wrong_parks_the_rows(self, claude: ClaudeEmulator, returned: Any, error: str) -> None:
        Book.objects.create(title="One")
        reviews(2)
        run = over(job(get_targets=lambda self, pks: returned(pks)).start(), claude)
        assert (run.state, effects(), FailedDelivery.objects.count()) == (RunState.FINISHED, [0, 0], 2)
        assert all(row.error.startswith(error) for row in FailedDelivery.objects.all()), FailedDelivery.objects.first()
        job()
        services.redeliver_failed(run)
        deliver_all()
        assert effects() == [1, 1]

    def test_in_which_the_database_fails_is_called_again(self, claude: ClaudeEmulator) -> None:
        def get_targets(self: Any, pks: Sequence[Any]) -> Any:
            raise OperationalError("deadlock detected")

        reviews(1)
        fetched(job(get_targets=get_targets).start(), claude)
        with pytest.raises(OperationalError):
            deliver_all()
        job()
        let_time_come()
        deliver_all()
        assert (effects(), FailedDelivery.objects.count()) == ([1], 0)


async def nothing() -> None: ...


class TestOtherModels:
    """A batch that no run made may be about rows of any model."""

    def answered(self, claude: ClaudeEmulator, *targets: models.Model) -> MessageBatch:
        items = ({**item(number), "target": target} for number, target in enumerate(targets))
        batch = services.submit(MessageBatch.objects.create_draft(items, kind="tag-reviews"))
        services.advance(batch)
        claude.finish()
        return services.advance(batch)

    def test_are_read_by_their_own_base_managers(self, claude: ClaudeEmulator) -> None:
        review = Review.objects.create()
        book = Book.objects.create(pk=review.pk, title="One")
        seen: list[Any] = []
        batch = self.answered(claude, review, book)
        signing(on_result=noting(seen)).redeliver(batch)
        deliver_all()
        assert [type(row) for row in seen] == [SignedReview, Book]
        assert [row.pk for row in seen] == [review.pk, book.pk]

    def test_need_no_queryset(self, claude: ClaudeEmulator) -> None:
        seen: list[Any] = []
        batch = self.answered(claude, Review.objects.create())
        job(get_queryset=BatchJob.get_queryset, on_result=noting(seen)).redeliver(batch)
        deliver_all()
        assert [type(row) for row in seen] == [Review]


class TestDeletedInTheHandler:
    def test_and_then_an_error_parks_the_row(self, claude: ClaudeEmulator) -> None:
        """The deletion is undone, but the instance has no key any more."""

        def on_result(self: Any, review: Review, result: Any) -> None:
            review.delete()
            raise LookupError("no shelf")

        reviews(1)
        over(job(on_result=on_result).start(), claude)
        assert (Review.objects.count(), FailedDelivery.objects.count()) == (1, 1)
        assert DeliveryChunk.objects.get().gone_count == 0


class TestChildrenWithKeysOfTheirOwn:
    """A kiosk's number is another place's key."""

    @pytest.fixture(autouse=True)
    def places(self) -> None:
        Place.objects.create(pk=2, name="place 2")
        for pk, number in ((1, 3), (3, 1), (4, 2)):
            Kiosk.objects.create(id=pk, name=f"place {pk}", number=number)

    def test_a_handler_gets_the_row_that_was_asked_about(self, claude: ClaudeEmulator) -> None:
        seen: dict[str, str] = {}

        def on_result(self: Any, place: Place, result: Any) -> None:
            seen[result.request.object_id] = place.name

        def get_targets(self: Any, pks: Sequence[Any]) -> Any:
            return PlaceQuerySet(Place).as_they_are().filter(pk__in=pks)

        made = job(
            get_queryset=lambda self: Place.objects.all(),
            get_prompt=lambda self, place: place.name,
            on_result=on_result,
            get_targets=get_targets,
        )
        assert over(made.start(), claude).state == RunState.FINISHED
        assert seen == {str(pk): f"place {pk}" for pk in range(1, 5)}

    def test_they_are_no_rows_to_ask_about(self, claude: ClaudeEmulator) -> None:
        made = job(
            get_queryset=lambda self: PlaceQuerySet(Place).as_they_are(), get_prompt=lambda self, place: place.name
        )
        run = over(made.start(), claude)
        assert (run.is_paused, len(claude.batches)) == (True, 0)
        assert "a row of a child model with a key of its own" in run.pause_reason


def test_a_queryset_that_raises_a_day_later(claude: ClaudeEmulator) -> None:
    reviews(2)
    is_over: list[bool] = []

    def get_queryset(self: Any) -> Any:
        if is_over:
            raise LookupError("the campaign is over")
        return Review.objects.all()

    def on_result(self: Any, review: Review, result: Any) -> None:
        Review.objects.filter(pk=review.pk).update(effects=F("effects") + 1)

    run = job(get_queryset=get_queryset, on_result=on_result).start()
    fetched(run, claude)
    is_over.append(True)
    deliver_all()
    assert (effects(), FailedDelivery.objects.count()) == ([1, 1], 0)
