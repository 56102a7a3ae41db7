"""A ModelAdmin with actions: who may use which, and the buttons on a row's page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from django_claude_batches.admin.actions.action import Verb
from django_claude_batches.admin.base.permissions import page_url
from django_claude_batches.admin.pages.read_only import MirrorAdminMixin

# Where an action may be offered: before Django 6.1 only on the list.
LOCATIONS: Any = getattr(admin, "ActionLocation", None)

# Form fields that name the chosen action.
ACTION_FIELDS = ("action",) if LOCATIONS is None else ("action", f"{LOCATIONS.CHANGE_FORM.value}-action")


class ActingAdminMixin(MirrorAdminMixin):
    """A ModelAdmin with actions: in its list, and as buttons on a row's page.

    The buttons use Django's own actions of the change form if it has them (6.1), and otherwise post to those of the
    list.
    """

    verbs: tuple[Verb, ...] = ()

    def is_permitted(self, request: HttpRequest, verb: Verb) -> bool:
        return bool(getattr(self, f"has_{verb.permission}_permission")(request))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self._refuse(request)
        return super().changelist_view(request, extra_context)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        self._refuse(request)
        return super().changeform_view(request, *args, **kwargs)

    def _refuse(self, request: HttpRequest) -> None:
        """Refuse an action that was requested without permission: Django would only say that none was selected."""
        asked = {value for name in ACTION_FIELDS for value in request.POST.getlist(name)}
        if any(verb.name in asked and not self.is_permitted(request, verb) for verb in self.verbs):
            raise PermissionDenied

    def summarize(self, rows: list[Any]) -> str:
        """Return a description of what an action is about to change."""
        raise NotImplementedError

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        row = kwargs.get("obj")
        if row is not None:
            context["dcb_checkbox"] = ACTION_CHECKBOX_NAME
            context["dcb_buttons"] = list(self._buttons(request, row))
            context["dcb_buttons_post"] = {"url": page_url(self.admin_site, self.model, "changelist"), "name": "action"}
            if LOCATIONS is not None:
                context["action_form"] = None  # the buttons replace Django's select box
                context["dcb_buttons_post"] = {"url": "", "name": f"{LOCATIONS.CHANGE_FORM.value}-action"}
        return super().render_change_form(request, context, *args, **kwargs)

    def _buttons(self, request: HttpRequest, row: Any) -> Iterator[tuple[str, str]]:
        """Yield name and label of each action that this user may take on this row; a project's own actions too."""
        illegal = {verb.name for verb in self.verbs if verb.deletes or verb.refusal(row)}
        if LOCATIONS is None:
            permitted = (verb for verb in self.verbs if self.is_permitted(request, verb))
            named = ((verb.name, str(verb.label)) for verb in permitted)
        else:
            choices = self.get_action_choices(request, [], action_location=LOCATIONS.CHANGE_FORM)
            named = ((str(name), str(label)) for name, label in choices)
        yield from ((name, label) for name, label in named if name not in illegal)
