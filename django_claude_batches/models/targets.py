"""`BatchTargets`: the requests and results about a row, as attributes of the row."""

from __future__ import annotations

from inspect import getattr_static

from django.core.exceptions import FieldError
from django.db import models

from django_claude_batches.models.request import BatchRequest
from django_claude_batches.models.result import BatchResult

ATTRIBUTES = {
    "batch_requests": property(BatchRequest.objects.for_target, doc="The requests about this row."),
    "batch_results": property(BatchResult.objects.for_target, doc="The results of the requests about this row."),
}


class BatchTargets:
    """Add `batch_requests` and `batch_results`, querysets of what was asked about a row, to the rows of a model::

        class Review(models.Model):
            batches = BatchTargets()

    It is neither a column nor a relation: it needs no migration, and deleting a row keeps its requests and results,
    which were paid for. `result.target` is None then. (A `GenericRelation` would delete them; a check refuses it.)

    Subclasses of the model have both too, including proxies. As in drafting, a row is identified by its concrete model:
    what was asked about a child of a concrete model was not asked about its parent.

    Each use is a query. For a page of rows, ask `BatchResult.objects.for_targets(rows)` once.

    Raise FieldError if the model has an attribute of one of these names.
    """

    def contribute_to_class(self, cls: type[models.Model], name: str) -> None:
        _refuse_others(cls, name)
        for attribute, ours in ATTRIBUTES.items():
            setattr(cls, attribute, ours)
        setattr(cls, name, self)
        if not cls._meta.abstract:
            # Again when the class is complete: a field that follows in the class body has just replaced the attribute.
            key = (cls._meta.app_label, str(cls._meta.model_name))
            cls._meta.apps.lazy_model_operation(lambda made: _refuse_others(made, name), key)


def _refuse_others(cls: type[models.Model], name: str) -> None:
    for attribute, ours in ATTRIBUTES.items():
        if getattr_static(cls, attribute, ours) is not ours:
            raise FieldError(
                f"{cls.__name__}.{name} is a BatchTargets, which gives {cls.__name__} the attribute {attribute}: "
                "the model has one of that name already. Rename it."
            )
