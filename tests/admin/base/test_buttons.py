"""The buttons of a row's page beside what a project or a theme does with Django's actions of that page (6.1)."""

from __future__ import annotations

import warnings
from typing import Any

import django
import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import RequestFactory

from django_claude_batches.admin import MessageBatchAdminMixin
from django_claude_batches.models import MessageBatch
from tests.harness.factories import draft

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(django.VERSION < (6, 1), reason="a row's page has actions from Django 6.1"),
]

SUBMIT = ("action", "submit", "Submit to Claude", "")


class OurAdmin(MessageBatchAdminMixin, admin.ModelAdmin):
    actions = [*MessageBatchAdminMixin.actions, "archive", "tag"]

    def archive(self, request: Any, queryset: Any) -> None:
        """An action of the list and of the page."""

    archive.locations = list(getattr(admin, "ActionLocation", ()))  # type: ignore[attr-defined]

    def tag(self, request: Any, queryset: Any) -> None:
        """An action of the list only."""


class ThemedAdmin(OurAdmin):
    """As in Unfold 0.110: the method takes no location, so Django offers the list's choices on the page too."""

    def get_action_choices(self, request: Any, default_choices: Any = None) -> Any:  # type: ignore[override]
        return super().get_action_choices(request, [("", "Select action")])


class OlderAdmin(OurAdmin):
    """As in a project written before Django 6.1: `get_actions` takes no location."""

    def get_actions(self, request: Any) -> Any:  # type: ignore[override]
        return super().get_actions(request)


def buttons(page: type[OurAdmin]) -> list[Any]:
    """Return the buttons of a draft's page."""
    request = RequestFactory().get("/the/page/")
    request.user = User.objects.create_superuser("ada")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Overriding get_action")
        response = page(MessageBatch, admin.site).changeform_view(request, str(draft(1).pk))
        assert b"dcb-actions" in response.render().content
    shown = [*response.context_data["dcb_buttons"], *response.context_data["dcb_own_buttons"]]
    return [(button.field, button.name, str(button.label), button.url) for button in shown]


@pytest.mark.parametrize("page", [OurAdmin, ThemedAdmin])
def test_a_projects_own_action_of_the_page_is_posted_to_the_page(page: type[OurAdmin]) -> None:
    assert buttons(page) == [SUBMIT, ("CHANGE_FORM-action", "archive", "Archive", "/the/page/")]


def test_without_a_location_there_are_only_the_packages_buttons() -> None:
    assert buttons(OlderAdmin) == [SUBMIT]
