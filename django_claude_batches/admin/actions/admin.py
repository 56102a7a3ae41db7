"""The base ModelAdmin of pages with actions: permissions, and buttons on a row's page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from django_claude_batches.admin.actions.action import Verb
from django_claude_batches.admin.base.permissions import page_url
from django_claude_batches.admin.pages.button import Button
from django_claude_batches.admin.pages.read_only import MirrorAdminMixin

# Django 6.1 offers actions on the list and on the change form; earlier versions only on the list, without this class.
LOCATIONS: Any = getattr(admin, "ActionLocation", None)


class ActingAdminMixin(MirrorAdminMixin):
    """A ModelAdmin with actions: in its list, and as buttons on a row's page.

    The buttons post to the actions of the list, which all versions of Django and all themes have. A project's own
    actions of the change form (Django 6.1) post to the page.
    """

    verbs: tuple[Verb, ...] = ()

    def is_permitted(self, request: HttpRequest, verb: Verb) -> bool:
        return bool(getattr(self, f"has_{verb.permission}_permission")(request))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self._refuse(request)
        return super().changelist_view(request, extra_context)

    def _refuse(self, request: HttpRequest) -> None:
        """Raise PermissionDenied for an action requested without permission.

        Django would only report that no action was selected.
        """
        asked = request.POST.getlist("action")
        if any(verb.name in asked and not self.is_permitted(request, verb) for verb in self.verbs):
            raise PermissionDenied

    def summarize(self, rows: list[Any]) -> str:
        """Return a description of the rows on which an action is about to be performed."""
        raise NotImplementedError

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        row = kwargs.get("obj")
        if row is not None:
            context["dcb_checkbox"] = ACTION_CHECKBOX_NAME
            context["dcb_list_url"] = page_url(self.admin_site, self.model, "changelist")
            context["dcb_buttons"] = self.buttons(request, row)
            context["dcb_own_buttons"] = list(self._own_actions(request, context.get("action_form")))
            context["action_form"] = None  # the buttons replace Django's select box
        return super().render_change_form(request, context, *args, **kwargs)

    def next_step(self, row: Any) -> str:
        """Return the name of the primary button, the next step in most cases; empty if there is nothing to do."""
        return ""

    def buttons(self, request: HttpRequest, row: Any) -> list[Button]:
        """Return a button for each action that this user may take on this row, the next step first."""
        buttons = [*self.row_links(request, row), *self._buttons(request, row)]
        step = self.next_step(row)
        primary = [replace(button, is_primary=True) for button in buttons if button.name == step]
        return [*primary, *(button for button in buttons if button.name != step)]

    def row_links(self, request: HttpRequest, row: Any) -> list[Button]:
        """Return the buttons that are links to other pages."""
        return []

    def _buttons(self, request: HttpRequest, row: Any) -> Iterator[Button]:
        for verb in self.verbs:
            if verb.deletes or not self.is_permitted(request, verb) or verb.refusal(row):
                continue
            if label := verb.label if verb.row_label is None else verb.row_label(row):
                yield Button(verb.name, label)

    def _own_actions(self, request: HttpRequest, form: Any) -> Iterator[Button]:
        """Yield a button for each of the project's own actions of the page.

        `form` is Django's action form, or None if the page has no actions.
        """
        if form is not None:
            # A theme may add the list's actions to this form. They are not actions of the page, and are left out.
            names = self.get_actions(request, action_location=LOCATIONS.CHANGE_FORM)
            choices = form.fields["action"].choices
            yield from (
                Button(name, label, request.get_full_path(), field=form["action"].html_name)
                for name, label in choices
                if name in names
            )
