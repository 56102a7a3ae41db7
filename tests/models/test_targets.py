from __future__ import annotations

from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import FieldError
from django.db import models
from django.test.utils import isolate_apps

from django_claude_batches import services
from django_claude_batches.models import BatchRequest, BatchResult, BatchTargets, MessageBatch
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import item
from tests.harness.library.models import Book, Cafe, Parcel, Place, Restaurant

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def answered(claude: ClaudeEmulator, *targets: models.Model | None, kind: str = "") -> MessageBatch:
    items = ({**item(number), "target": target} for number, target in enumerate(targets))
    batch = services.submit(MessageBatch.objects.create_draft(items, kind=kind))
    services.advance(batch)
    claude.finish()
    return services.advance(batch)


def ids(rows: Any) -> list[str]:
    return sorted(rows.values_list("custom_id", flat=True))


def test_a_row_has_its_requests_and_results(claude: ClaudeEmulator) -> None:
    one, two = Place.objects.create(name="One"), Place.objects.create(name="Two")
    batch = answered(claude, one, two, one, None)
    assert ids(one.batch_requests) == ids(one.batch_results) == ["r-0", "r-2"]
    assert ids(two.batch_requests.filter(batch=batch)) == ids(two.batch_results.succeeded()) == ["r-1"]
    assert {result.target for result in one.batch_results} == {one}


def test_a_row_of_another_model_with_the_same_key_has_none(claude: ClaudeEmulator) -> None:
    place = Place.objects.create(pk=77, name="One")
    answered(claude, Book.objects.create(pk=77, title="One"))
    assert not place.batch_requests.exists()
    assert not place.batch_results.exists()


def test_a_key_that_is_not_a_number(claude: ClaudeEmulator) -> None:
    parcel, other = Parcel.objects.create(), Parcel.objects.create()
    answered(claude, other, parcel)
    assert ids(Parcel.objects.get(pk=parcel.pk).batch_results) == ["r-1"]


@pytest.mark.parametrize("by", ["instance", "queryset", "raw"])
def test_deleting_a_row_keeps_its_requests_and_results(claude: ClaudeEmulator, by: str) -> None:
    place, restaurant = Place.objects.create(name="One"), Restaurant.objects.create(name="Two")
    batch = answered(claude, place, restaurant)
    if by == "instance":
        deleted = [place.delete(), restaurant.delete()]
    elif by == "queryset":
        deleted = [Place.objects.all().delete()]
    else:
        deleted = [Restaurant.objects.all()._raw_delete("default"), Place.objects.all()._raw_delete("default")]
    assert "django_claude_batches" not in str(deleted)
    assert not Place.objects.exists()
    assert (batch.requests.count(), batch.results.count()) == (2, 2)
    assert [result.target for result in batch.results.with_target()] == [None, None]
    assert [request.target for request in batch.requests.all()] == [None, None]


def test_a_row_that_is_not_saved_has_none(claude: ClaudeEmulator, django_assert_num_queries: Any) -> None:
    place = Place.objects.create(name="One")
    answered(claude, place)
    place.delete()
    with django_assert_num_queries(0):
        assert not place.batch_requests.exists()
        assert list(Place().batch_results) == []
        assert list(BatchResult.objects.for_targets([])) == []


def test_a_proxy_has_the_results_of_its_model(claude: ClaudeEmulator) -> None:
    place = Place.objects.create(name="One")
    cafe = Cafe.objects.get(pk=place.pk)
    answered(claude, cafe, place)
    assert ids(cafe.batch_results) == ids(place.batch_results) == ["r-0", "r-1"]


def test_a_child_row_has_other_results_than_its_parent_row(claude: ClaudeEmulator) -> None:
    restaurant = Restaurant.objects.create(name="One")
    answered(claude, restaurant, restaurant.place_ptr)
    assert ids(restaurant.batch_results) == ["r-0"]
    assert ids(restaurant.place_ptr.batch_results) == ["r-1"]
    assert [request.target for request in restaurant.batch_requests] == [restaurant]


def test_a_page_of_rows_is_one_query(claude: ClaudeEmulator, django_assert_num_queries: Any) -> None:
    places = [Place.objects.create(name=str(number)) for number in range(5)]
    parcels = [Parcel.objects.create() for _ in range(2)]
    answered(claude, *places, *parcels, Book.objects.create(title="no"))
    ContentType.objects.get_for_models(Place, Parcel)
    about = [*places[1:3], *parcels]
    with django_assert_num_queries(2):
        assert ids(BatchRequest.objects.for_targets(about)) == ["r-1", "r-2", "r-5", "r-6"]
        assert ids(BatchResult.objects.for_targets(about)) == ["r-1", "r-2", "r-5", "r-6"]
    assert " OUTER JOIN " not in str(BatchResult.objects.for_targets(about).query).upper()
    assert ids(BatchResult.objects.for_targets(Place.objects.filter(name="4"))) == ["r-4"]


@pytest.mark.parametrize("model", [Place, Parcel])
def test_rows_by_their_results(claude: ClaudeEmulator, model: type[models.Model]) -> None:
    """The example in docs/reference/models.md."""
    rows = [model._default_manager.create() for _ in range(3)]
    answered(claude, *rows, kind="tags")
    found = BatchResult.objects.of_kind("tags").filter(custom_id__in=["r-0", "r-2"])
    content_type = ContentType.objects.get_for_model(model)
    keys = found.filter(request__content_type=content_type).values_list("request__object_id", flat=True)
    assert set(model._default_manager.filter(pk__in=list(keys))) == {rows[0], rows[2]}


def test_batch_targets_adds_no_field() -> None:
    assert [field.name for field in Place._meta.get_fields(include_hidden=True)] == [
        "restaurant",
        "kiosk",
        "id",
        "name",
    ]
    assert Place._meta.private_fields == []


class TestNames:
    @isolate_apps("tests.harness.library")
    def test_a_field_of_the_same_name_is_refused(self) -> None:
        with pytest.raises(FieldError, match=r"Shelf\.batches is a BatchTargets, .* the attribute batch_requests"):

            class Shelf(models.Model):
                batch_requests = models.TextField()
                batches = BatchTargets()

                class Meta:
                    app_label = "library"

                def __str__(self) -> str:
                    return "shelf"

    @isolate_apps("tests.harness.library")
    def test_a_later_field_of_the_same_name_is_refused(self) -> None:
        with pytest.raises(FieldError, match="the attribute batch_results"):

            class Shelf(models.Model):
                batches = BatchTargets()
                batch_results = models.TextField()

                class Meta:
                    app_label = "library"

                def __str__(self) -> str:
                    return "shelf"

    @isolate_apps("tests.harness.library")
    def test_a_method_of_the_same_name_is_refused(self) -> None:
        with pytest.raises(FieldError, match="the attribute batch_results"):

            class Shelf(models.Model):
                batches = BatchTargets()

                class Meta:
                    app_label = "library"

                def __str__(self) -> str:
                    return "shelf"

                def batch_results(self) -> None:
                    """Occupy the name."""

    @isolate_apps("tests.harness.library")
    def test_a_field_of_a_base_class_is_refused(self) -> None:
        class Base(models.Model):
            batch_results = models.TextField()

            class Meta:
                abstract = True
                app_label = "library"

        with pytest.raises(FieldError, match="the attribute batch_results"):

            class Shelf(Base):
                batches = BatchTargets()

                class Meta:
                    app_label = "library"

                def __str__(self) -> str:
                    return "shelf"

    @isolate_apps("tests.harness.library")
    def test_a_second_declaration_in_a_subclass_is_allowed(self) -> None:
        class Hall(Place):
            ours = BatchTargets()

            class Meta:
                app_label = "library"

        assert Hall(pk=1).batch_requests.model is BatchRequest
