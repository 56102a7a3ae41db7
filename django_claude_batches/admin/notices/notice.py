"""A notice above the pages. It links only to pages that the user may view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.db.models import IntegerField, Model, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from django_claude_batches.admin.base.permissions import may_view

# A notice counts at most this many rows, and says "More than" beyond that.
MOST_NAMED = 100


@dataclass(frozen=True, slots=True)
class Notice:
    """A text, and a link to where the problem can be fixed; without a URL there is none."""

    text: str
    url: str = ""
    link: str = ""


class _Count(Subquery):
    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()


def count_some(rows: Any) -> Subquery:
    """Return the number of rows as a column of another query, counted only up to a limit."""
    return _Count(rows.order_by().values("pk")[: MOST_NAMED + 1])


def at_most(count: int) -> str:
    return f"{count:,}" if count <= MOST_NAMED else _("More than %(n)s") % {"n": f"{MOST_NAMED:,}"}


def list_url(request: HttpRequest, site: AdminSite, model: type[Model], **query: str) -> str:
    """Return the URL of the model's list, empty if the user may not view it."""
    path = _address(request, site, model, "changelist")
    return f"{path}?{urlencode(query)}" if path and query else path


def row_url(request: HttpRequest, site: AdminSite, row: Model) -> str:
    """Return the URL of the row's page, empty if the user may not view it."""
    return _address(request, site, type(row), "change", row.pk)


def _address(request: HttpRequest, site: AdminSite, model: type[Model], page: str, *args: Any) -> str:
    if not may_view(request, site, model):
        return ""
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"
    return reverse(name, args=args, current_app=site.name)
