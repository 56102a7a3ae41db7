"""A row's page in step with the row: what moves on it has an address of its own, which a script fetches."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse

from django_claude_batches.admin.base.permissions import APP
from django_claude_batches.admin.pages.read_only import MirrorAdminMixin

# Seconds between two refreshes: while Anthropic takes the next step, and while a worker does.
SECONDS = 10
SECONDS_OF_OURS = 5

# Digits. A longer number is no primary key in any database.
LONGEST_PK = 18


class MovingAdminMixin(MirrorAdminMixin):
    """A ModelAdmin whose rows move by themselves: the templates `card.html` and `rows.html` of its model show how."""

    def page_of(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Give what the page tells of the row, beside its fields."""
        raise NotImplementedError

    def moves(self, row: Any) -> bool:
        """Whether something still happens to the row by itself."""
        raise NotImplementedError

    def seconds(self, row: Any) -> int:
        """Give how long to wait between two looks at it."""
        raise NotImplementedError

    def fetch(self, request: HttpRequest, pk: int) -> Any:
        """Give the row with what its page needs; None where there is none."""
        raise NotImplementedError

    @property
    def _card(self) -> str:
        return f"{APP}_{self.opts.model_name}_card"

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.card_view)
        return [path("<path:object_id>/card/", view, name=self._card), *super().get_urls()]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        if from_field is not None or not (object_id.isascii() and object_id.isdigit() and len(object_id) <= LONGEST_PK):
            return super().get_object(request, object_id, from_field)
        return self.reduced(request, self.fetch(request, int(object_id)))

    def card_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Give the parts of the page that move, as HTML without a page around them."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        context = {"dcb": self.moving_parts(request, row), "original": row, "opts": self.opts}
        return TemplateResponse(request, f"admin/{APP}/{self.opts.model_name}/live.html", context)

    def moving_parts(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        site = self.admin_site.name
        url = reverse(f"admin:{self._card}", args=[row.pk], current_app=site) if self.moves(row) else ""
        return {**self.page_of(request, row), "card_url": url, "seconds": self.seconds(row)}

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        row = kwargs.get("obj")
        if row is not None:
            context["dcb"] = self.moving_parts(request, row)
        return super().render_change_form(request, context, *args, **kwargs)
