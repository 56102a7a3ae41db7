"""A row's page that is updated while the row changes: a script fetches its live parts from a separate URL."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.text import capfirst

from django_claude_batches.admin.base.filters import read_pk
from django_claude_batches.admin.base.permissions import APP
from django_claude_batches.admin.pages.read_only import MirrorAdminMixin

# Seconds between two refreshes: while Anthropic takes the next step, and while a worker does.
SECONDS = 10
SECONDS_OF_OURS = 5


class MovingAdminMixin(MirrorAdminMixin):
    """A ModelAdmin whose rows change automatically. The template `live.html` of its model has the live parts."""

    def page_of(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return the content of the row's page, besides its fields."""
        raise NotImplementedError

    def moves(self, row: Any) -> bool:
        """Return whether the row still changes automatically."""
        raise NotImplementedError

    def seconds(self, row: Any) -> int:
        """Return the seconds between two refreshes."""
        return SECONDS_OF_OURS

    def fetch(self, request: HttpRequest, pk: int) -> Any:
        """Return the row with what its page needs, or None."""
        raise NotImplementedError

    @property
    def _card(self) -> str:
        return f"{APP}_{self.opts.model_name}_card"

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.card_view)
        return [path("<path:object_id>/card/", view, name=self._card), *super().get_urls()]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        pk = read_pk(object_id)
        if from_field is not None or pk is None:
            return super().get_object(request, object_id, from_field)
        return self.reduced(request, self.fetch(request, pk))

    def card_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Return the live parts of the page as an HTML fragment."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        context = {
            "dcb": self.moving_parts(request, row),
            "dcb_buttons": self.buttons(request, row),
            "original": row,
            "opts": self.opts,
        }
        return TemplateResponse(request, f"admin/{APP}/{self.opts.model_name}/live.html", context)

    def moving_parts(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        site = self.admin_site.name
        url = reverse(f"admin:{self._card}", args=[row.pk], current_app=site) if self.moves(row) else ""
        return {**self.page_of(request, row), "card_url": url, "seconds": self.seconds(row)}

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        row = kwargs.get("obj")
        if row is not None:
            context["dcb"] = self.moving_parts(request, row)
            context["title"] = f"{capfirst(self.opts.verbose_name)} {row}"
            context["subtitle"] = None
        return super().render_change_form(request, context, *args, **kwargs)
