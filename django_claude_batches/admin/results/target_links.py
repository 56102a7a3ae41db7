"""Links to the targets of requests in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.utils import quote
from django.contrib.contenttypes.models import ContentType
from django.urls import NoReverseMatch

from django_claude_batches.admin.base import display
from django_claude_batches.admin.base.permissions import Viewer, page_url
from django_claude_batches.drafting.target import content_types_of
from django_claude_batches.models import BatchRequest


class TargetLinks:
    """Links for the rows of one page. The permission for each model is checked once, and no target is loaded."""

    def __init__(self, viewer: Viewer, using: str) -> None:
        self._viewer = viewer
        self._content_types = content_types_of(using)
        self._viewable: dict[int, Any] = {}

    def link(self, request: BatchRequest | None) -> str:
        """Return the target's name, linked for users who may view the target where its model is registered."""
        if request is None or request.content_type_id is None:
            return display.EMPTY
        kind = self._content_types.get_for_id(request.content_type_id)
        name = f"{kind.name} {request.object_id}"
        return display.link(self._url(kind, request.object_id), name)

    def _url(self, kind: ContentType, object_id: Any) -> str:
        if kind.pk not in self._viewable:
            model = kind.model_class()
            self._viewable[kind.pk] = model if model is not None and self._viewer.may_view(model) else None
        model = self._viewable[kind.pk]
        try:
            return "" if model is None else page_url(self._viewer.site, model, "change", quote(object_id))
        except NoReverseMatch:
            # The project's page has other URLs than a ModelAdmin's.
            return ""
