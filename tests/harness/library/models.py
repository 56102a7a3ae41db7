"""An app of somebody else: what requests are about."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from django.db import models
from django.db.models.query import ModelIterable

from django_claude_batches.models import BatchTargets


class Asked(models.Model):
    """What requests may be about, from the other side."""

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
    """A place that has a number of its own for its key."""

    number = models.BigAutoField(primary_key=True)
    place = models.OneToOneField(Place, on_delete=models.CASCADE, parent_link=True)


class WithKind(ModelIterable):  # type: ignore[type-arg]
    """Give each place as what it is, as packages for inheritance do."""

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
    """Its key is in no order of making."""

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
    """What jobs ask about: each effect of an answer is counted."""

    text = models.TextField(blank=True)
    tags = models.TextField(blank=True)
    effects = models.IntegerField(default=0)

    def __str__(self) -> str:
        return self.text


class SignedReview(Review):
    """A proxy that does more: what a job over it has to get."""

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
    """Its deleted rows stay, and even its base manager hides them."""

    objects = Visible()  # type: ignore[misc]
    everything = models.Manager["ModeratedReview"]()

    class Meta:
        proxy = True
        base_manager_name = "objects"


class Chapter(models.Model):
    """Its key is a text, which may be no custom_id, and may be that of a position."""

    path = models.CharField(max_length=200, primary_key=True)
    text = models.TextField(blank=True)
    books = models.ManyToManyField(Book, related_name="chapters")

    def __str__(self) -> str:
        return self.path
