"""Models of another app, the targets of requests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from django.db import models
from django.db.models.query import ModelIterable

from django_claude_batches.models import BatchTargets


class Asked(models.Model):
    """A base class with `BatchTargets`."""

    batches = BatchTargets()

    class Meta:
        abstract = True


class Place(Asked):
    name = models.CharField(max_length=200)

    def __str__(self) -> str:
        return self.name


class Restaurant(Place):
    stars = models.IntegerField(default=0)


class Kiosk(Place):
    """A child model with its own primary key."""

    number = models.BigAutoField(primary_key=True)
    place = models.OneToOneField(Place, on_delete=models.CASCADE, parent_link=True)


class WithKind(ModelIterable):  # type: ignore[type-arg]
    """Return rows of child models, as packages for model inheritance do."""

    def __iter__(self) -> Iterator[Any]:
        for place in super().__iter__():
            yield getattr(place, "kiosk", place)


class PlaceQuerySet(models.QuerySet["Place"]):
    def as_they_are(self) -> PlaceQuerySet:
        found = self.select_related("kiosk")
        found._iterable_class = WithKind
        return found


class Cafe(Place):
    class Meta:
        proxy = True


class Parcel(models.Model):
    """A model whose primary keys are not in the order of creation."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    text = models.TextField(blank=True)
    batches = BatchTargets()

    def __str__(self) -> str:
        return str(self.pk)


class Book(models.Model):
    title = models.CharField(max_length=200)
    summary = models.TextField(blank=True)

    def __str__(self) -> str:
        return self.title


class Review(models.Model):
    """The target of jobs; it counts the effects of each answer."""

    text = models.TextField(blank=True)
    tags = models.TextField(blank=True)
    effects = models.IntegerField(default=0)

    def __str__(self) -> str:
        return self.text


class SignedReview(Review):
    """A proxy with methods, which a job's handlers must get."""

    class Meta:
        proxy = True

    def save(self, **options: Any) -> None:
        self.tags = self.sign(self.tags)
        super().save(**options)

    def sign(self, text: str) -> str:
        return f"{text}, signed"


class Visible(models.Manager["ModeratedReview"]):
    def get_queryset(self) -> models.QuerySet[ModeratedReview]:
        return super().get_queryset().exclude(text="deleted")


class ModeratedReview(Review):
    """A model with soft deletion, whose base manager hides deleted rows."""

    objects = Visible()  # type: ignore[misc]
    everything = models.Manager["ModeratedReview"]()

    class Meta:
        proxy = True
        base_manager_name = "objects"


class Chapter(models.Model):
    """A model whose key is a text, which may be invalid as a custom_id or equal to a position."""

    path = models.CharField(max_length=200, primary_key=True)
    text = models.TextField(blank=True)
    books = models.ManyToManyField(Book, related_name="chapters")

    def __str__(self) -> str:
        return self.path
