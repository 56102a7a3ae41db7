"""What was asked about a row of somebody's model, from that row's side."""

from __future__ import annotations

from inspect import getattr_static

from django.core.exceptions import FieldError
from django.db import models

from django_claude_batches.models.request import BatchRequest, BatchRequestQuerySet
from django_claude_batches.models.result import BatchResult, BatchResultQuerySet


def _batch_requests(target: models.Model) -> BatchRequestQuerySet:
    """The requests about this row."""
    return BatchRequest.objects.for_target(target)


def _batch_results(target: models.Model) -> BatchResultQuerySet:
    """What the requests about this row were answered."""
    return BatchResult.objects.for_target(target)


ATTRIBUTES = {"batch_requests": property(_batch_requests), "batch_results": property(_batch_results)}


class BatchTargets:
    """Gives the rows of a model `batch_requests` and `batch_results`: querysets of what was asked about them::

        class Review(models.Model):
            batches = BatchTargets()

    It is no column and no relation: nothing is migrated, and deleting a row deletes no request and no result, which
    were paid for. `result.target` is None then. (A `GenericRelation` would delete them; a check refuses it.)

    What inherits from the model has both too, proxies as well. As in drafting, a row is known by its model, a proxy's
    by the model that it stands for: what was asked about a child of a concrete model was not asked about its parent.

    Each use is a query. For a page of rows, ask `BatchResult.objects.for_targets(rows)` once.

    Raise FieldError where the model has an attribute of one of these names.
    """

    def contribute_to_class(self, cls: type[models.Model], name: str) -> None:
        for attribute, ours in ATTRIBUTES.items():
            _refuse_other(cls, attribute, name)
            setattr(cls, attribute, ours)
        setattr(cls, name, self)
        if not cls._meta.abstract:
            # Once more when the class is whole: a field that stands behind this in its body has just replaced ours.
            key = (cls._meta.app_label, str(cls._meta.model_name))
            cls._meta.apps.lazy_model_operation(lambda made: _check(made, name), key)


def _check(cls: type[models.Model], name: str) -> None:
    for attribute in ATTRIBUTES:
        _refuse_other(cls, attribute, name)


def _refuse_other(cls: type[models.Model], attribute: str, name: str) -> None:
    if getattr_static(cls, attribute, ATTRIBUTES[attribute]) is not ATTRIBUTES[attribute]:
        raise FieldError(
            f"{cls.__name__}.{name} is a BatchTargets, which gives {cls.__name__} the attribute {attribute}: "
            "the model has one of that name already. Rename it."
        )
