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
    """Add `batch_requests` and `batch_results`, the querysets of requests and results about a row, to a model's rows.

    Declare it in the model::

        class Review(models.Model):
            batches = BatchTargets()

    `BatchTargets` is neither a column nor a relation: it needs no migration, and deleting a row keeps the requests and
    results about it, which were paid for. Their `target` is then None. (A `GenericRelation` would delete them; a check
    refuses it.)

    Subclasses of the model, including proxies, have both attributes too. As in drafting, a row is identified by its
    concrete model: with multi-table inheritance, a request about a child row is not a request about its parent row.

    Each use is a query. For a page of rows, use `BatchResult.objects.for_targets(rows)`, which is one query.

    Raise FieldError if the model has an attribute of one of these names.
    """

    def contribute_to_class(self, cls: type[models.Model], name: str) -> None:
        _refuse_others(cls, name)
        for attribute, ours in ATTRIBUTES.items():
            setattr(cls, attribute, ours)
        setattr(cls, name, self)
        if not cls._meta.abstract:
            # Check again when the class is complete: a later field of the class body may have replaced the attribute.
            key = (cls._meta.app_label, str(cls._meta.model_name))
            cls._meta.apps.lazy_model_operation(lambda made: _refuse_others(made, name), key)


def _refuse_others(cls: type[models.Model], name: str) -> None:
    for attribute, ours in ATTRIBUTES.items():
        if getattr_static(cls, attribute, ours) is not ours:
            raise FieldError(
                f"{cls.__name__}.{name} is a BatchTargets, which gives {cls.__name__} the attribute {attribute}: "
                "the model has one of that name already. Rename it."
            )
