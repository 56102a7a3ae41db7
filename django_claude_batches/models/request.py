from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_
from typing import Any

from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _

from django_claude_batches import wire
from django_claude_batches.db import packet_limit
from django_claude_batches.db.leases import PrimaryQuerySet
from django_claude_batches.drafting.request import (
    MAX_MODEL_LENGTH,
    MAX_OUR_CUSTOM_ID,
    Prepared,
    encode_params,
    geo_of,
    max_tokens_of,
    model_of,
)
from django_claude_batches.drafting.target import MAX_OBJECT_ID, content_types_of
from django_claude_batches.estimates import ExpectedUsage
from django_claude_batches.exceptions import InvalidTransition, LimitExceeded
from django_claude_batches.model_limits import warnings_of
from django_claude_batches.models.batch_state import EDITABLE, NOT_BEING_IDENTIFIED, State, state_labels
from django_claude_batches.models.fields import IdentifierField


def match_targets(targets: Iterable[models.Model], prefix: str = "", *, using: str) -> Q:
    """Match requests, in the database `using`, about any of these rows; an unsaved row has none.

    `prefix` is the lookup from the queried model to its request.
    """
    content_types = content_types_of(using)
    keys: dict[ContentType, list[str]] = {}
    for target in targets:
        if target.pk is not None:
            keys.setdefault(content_types.get_for_model(target), []).append(str(target.pk))
    # Compare the texts that drafting wrote. A join would have to cast the keys, which uses no index, and SQLite's casts
    # differ (a UUID has no dashes there).
    matches = [Q(**{f"{prefix}content_type": kind, f"{prefix}object_id__in": pks}) for kind, pks in keys.items()]
    return reduce(or_, matches) if matches else Q(pk__in=[])


class BatchRequestQuerySet(PrimaryQuerySet["BatchRequest"]):
    def missing(self) -> BatchRequestQuerySet:
        """Match requests without a result."""
        return self.filter(result__isnull=True)

    def for_target(self, target: models.Model) -> BatchRequestQuerySet:
        return self.for_targets([target])

    def for_targets(self, targets: Iterable[models.Model]) -> BatchRequestQuerySet:
        """Match requests about any of these rows, of one or more models, in one query. For one page of rows at most."""
        return self.filter(match_targets(targets, using=self.db))

    def delete(self) -> tuple[int, dict[str, int]]:
        raise InvalidTransition("Requests are deleted only with their batch: delete the batch.")

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]


class BatchRequest(models.Model):
    """One request of a batch. `params` is stored as text, exactly as it will be sent, and read as a dictionary.

    To change it, assign `params` and save. That is possible until its batch is queued, and again if the batch was
    refused or not received.
    """

    batch = models.ForeignKey(
        "MessageBatch",
        on_delete=models.CASCADE,
        related_name="requests",
        verbose_name=_("batch"),
        db_index=False,  # the two indexes on (batch, …) serve it
    )
    position = models.PositiveIntegerField(_("position"))
    custom_id = IdentifierField(_("custom_id"), max_length=MAX_OUR_CUSTOM_ID)
    model = IdentifierField(_("model"), max_length=MAX_MODEL_LENGTH, blank=True)
    # Text and not JSON: jsonb reorders keys, refuses NUL, and would have to be encoded again to be sent.
    params_text = models.TextField(_("params"), db_column="params")
    params_bytes = models.PositiveIntegerField(_("bytes"))
    # A JSON list as text, as `params`: PostgreSQL's jsonb refuses NUL.
    cells_text = models.TextField(_("cells"), db_column="cells", null=True, blank=True, editable=False)  # noqa: DJ001
    # SET_NULL: `remove_stale_contenttypes` must not delete results that were paid for.
    content_type = models.ForeignKey(
        ContentType, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    object_id = IdentifierField(max_length=MAX_OBJECT_ID, null=True, blank=True)
    target = GenericForeignKey("content_type", "object_id")
    # The row is marked and not deleted: results that are fetched later still need it.
    erased_at = models.DateTimeField(_("erased at"), null=True, blank=True, editable=False)

    objects = BatchRequestQuerySet.as_manager()

    class Meta:
        verbose_name = _("request")
        verbose_name_plural = _("requests")
        ordering = ["batch", "position"]
        constraints = [
            models.UniqueConstraint(fields=["batch", "custom_id"], name="dcb_request_custom_id"),
            models.UniqueConstraint(fields=["batch", "position"], name="dcb_request_position"),
        ]
        indexes = [models.Index(fields=["content_type", "object_id"], name="dcb_request_target")]

    def __str__(self) -> str:
        return str(self.custom_id)

    @property
    def params(self) -> dict[str, Any]:
        """Return the body of the Messages call; empty if it was purged, and `purge_note` says when."""
        decoded: dict[str, Any] = json.loads(self.params_text) if self.params_text else {}
        return decoded

    @params.setter
    def params(self, params: Mapping[str, Any]) -> None:
        """Set the params. Raise InvalidRequest if the API would refuse them."""
        self.params_text = encode_params(params)
        self.params_bytes = len(self.params_text.encode())
        self.model = model_of(params)

    @property
    def cells(self) -> list[str]:
        """Return the cells of the table row that the request was made from; empty without a table or after a purge."""
        decoded: list[str] = json.loads(self.cells_text) if self.cells_text else []
        return decoded

    @property
    def is_purged(self) -> bool:
        """Return whether the params were purged or erased. Otherwise their text is never empty."""
        return not self.params_text

    @property
    def purge_note(self) -> str:
        """Return when the params were purged or erased, as text; empty if they are present."""
        return self.erasure_note or (self.batch.request_purge_note if self.is_purged else "")

    @property
    def erasure_note(self) -> str:
        """Return when the request was erased, as text; empty if it was not."""
        if self.erased_at is None:
            return ""
        return _("Erased on %(date)s.") % {"date": date_format(timezone.localtime(self.erased_at), "DATE_FORMAT")}

    @property
    def prepared(self) -> Prepared:
        """Return the request as it was checked when drafted, ready to be drafted again."""
        params = self.params
        return Prepared(
            self.position,
            self.custom_id,
            self.model,
            self.params_text,
            self.params_bytes,
            self.content_type_id,
            self.object_id,
            max_tokens_of(params),
            geo_of(params),
            tuple(warnings_of(params)),
            self.cells_text,
        )

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save changed params, and update the batch's size and estimate, in one transaction. The batch becomes a draft.

        Raise InvalidTransition if the batch can no longer be edited or the params were purged, and LimitExceeded if the
        request is too large for the database or the batch would become too large.
        """
        if self._state.adding:
            raise InvalidTransition("Requests are created only by MessageBatch.objects.create_draft(), not one by one.")
        batches = type(self.batch).objects.primary()
        size = self.params_bytes = len(self.params_text.encode())
        if reason := packet_limit.obstacle(self.params_text, using=batches.db):
            raise LimitExceeded(reason, custom_id=self.custom_id)
        with transaction.atomic(using=batches.db):
            batches.filter(pk=self.batch_id).update(state=F("state"))  # lock: a concurrent save changes the size, too
            stored_row = BatchRequest.objects.using(batches.db).get(pk=self.pk)
            if stored_row.is_purged:
                raise InvalidTransition(f"The params of request {self} were purged and cannot be changed.")
            stored = stored_row.params_bytes
            expected = ExpectedUsage(batches.values_list("expected_usage", flat=True).get(pk=self.batch_id) or ())
            for row, times in ((stored_row, -1), (self, 1)):
                prepared = row.prepared
                expected.add(prepared, times=times)
                expected.warn(prepared.warnings, prepared.custom_id, times=times)
            editable = batches.filter(NOT_BEING_IDENTIFIED, pk=self.batch_id, state__in=EDITABLE)
            room = wire.MAX_BODY_BYTES - (size - stored)
            if not editable.filter(body_bytes__lte=room).update(
                body_bytes=F("body_bytes") + (size - stored),
                expected_usage=expected.stored(),
                state=State.DRAFT,
                last_error="",
            ):
                if editable.exists():
                    raise LimitExceeded("the batch would be too large with this change", custom_id=self.custom_id)
                raise InvalidTransition(
                    f"Requests of batch {self.batch_id} cannot be changed: that is possible only for a batch that is "
                    f"{state_labels(EDITABLE)}, and that is not being identified."
                )
            super().save(using=batches.db, update_fields=["params_text", "params_bytes", "model"])

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise InvalidTransition("Requests are deleted only with their batch: delete the batch.")
