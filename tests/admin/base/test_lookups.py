"""Lookups in the query string of a list: hidden texts cannot be looked up."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client, RequestFactory

from django_claude_batches.admin import (
    AccountStateAdminMixin,
    BatchRequestAdminMixin,
    BatchResultAdminMixin,
    JobRunAdminMixin,
    MessageBatchAdminMixin,
)
from django_claude_batches.models import AccountState, BatchRequest, BatchResult, JobRun, MessageBatch, State
from tests.admin.admin_pages import ACCOUNTS, BATCHES, REQUESTS, RESULTS, RUNS, in_state, page, run_in, url
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db

SECRET = "hunter2"

HIDDEN = {
    BATCHES: (
        "last_error",
        "missing_reason",
        "run__pause_reason",
        "results__message",
        "requests__params_text",
        "requests__cells_text",
        "cells_header",
        "label",
    ),
    RUNS: ("last_error", "pause_reason", "batches__last_error", "batches__failed_deliveries__traceback", "label"),
    RESULTS: (
        "error_message",
        "message",
        "output_error",
        "request__params_text",
        "request__cells_text",
        "batch__last_error",
        "custom_id",
    ),
    REQUESTS: (
        "params_text",
        "cells_text",
        "result__message",
        "failed_delivery__error",
        "batch__last_error",
        "batch__label",
    ),
    ACCOUNTS: ("pause_reason",),
}
HOW = ("contains", "startswith", "icontains", "regex", "gte", "lt", "exact", "in", "isnull", "")


@pytest.mark.parametrize("model", slow_but(2, HIDDEN))
def test_a_hidden_text_cannot_be_asked_for(root: Client, model: str) -> None:
    for name in HIDDEN[model]:
        for how in HOW:
            lookup = f"{name}__{how}" if how else name
            assert root.get(url(model), {lookup: "1"}).status_code == 400, lookup


@pytest.mark.database
@pytest.mark.parametrize("lookup", ["label__regex", "state__regex", "kind__iregex", "pk__regex"])
def test_a_bad_regex_is_a_bad_request(root: Client, lookup: str) -> None:
    assert root.get(url(BATCHES), {lookup: "("}).status_code == 400


@pytest.mark.database
@pytest.mark.parametrize("value", slow_but(2, ["", "(", "9" * 40, "-1", "None", "2026-13-45", "a,b", "\u202e"]))
def test_odd_values_of_what_may_be_asked_are_no_failure(root: Client, value: str) -> None:
    asked = {
        BATCHES: ("state", "state__in", "state__gte", "run", "run__id__exact", "kind", "age", "o", "p", "q", "nothing"),
        RESULTS: ("batch", "batch__gt", "error_type", "outcome", "tier", "o", "q"),
        REQUESTS: ("batch", "batch__in", "outcome", "q"),
        RUNS: ("state__lte", "job", "attention", "q"),
    }
    for model, names in asked.items():
        for name in names:
            assert root.get(url(model), {name: value}).status_code in {200, 302, 400}, (model, name)


def test_a_popup_of_a_foreign_key_to_us_shows_what_it_is_limited_to(
    root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [{"label": "Tags", "drafted_at__isnull": False}, lambda: {"body_bytes__in": [1, 2]}]
    monkeypatch.setattr(MessageBatch._meta, "related_fkey_lookups", limits)
    popup = {"_popup": "1"}
    for lookups in ({"label": "Tags", "drafted_at__isnull": "0"}, {"body_bytes__in": "1,2"}):
        assert root.get(url(BATCHES), {**popup, **lookups}).status_code == 200
    for name, value in (("label", "Other"), ("label__contains", "Tags"), ("body_bytes__in", "1")):
        assert root.get(url(BATCHES), {**popup, name: value}).status_code == 400


def test_links_between_our_pages_work_whatever_is_filtered_by(root: Client) -> None:
    request = RequestFactory().get("/")
    bare: list[tuple[type[Any], type[Any], tuple[str, ...]]] = [
        (MessageBatchAdminMixin, MessageBatch, ("state__exact", "run", "attention", "nearing")),
        (BatchResultAdminMixin, BatchResult, ("batch", "error_type", "outcome", "tier")),
        (BatchRequestAdminMixin, BatchRequest, ("batch", "outcome")),
        (JobRunAdminMixin, JobRun, ("attention",)),
        (AccountStateAdminMixin, AccountState, ()),
    ]
    for mixin, model, links in bare:
        own = type("Own", (mixin, admin.ModelAdmin), {"list_filter": ()})(model, admin.AdminSite())
        assert [name for name in links if not own.lookup_allowed(name, "1", request)] == []


def test_the_final_class_says_what_is_filtered_by() -> None:
    class OurAdmin(MessageBatchAdminMixin, admin.ModelAdmin):
        list_filter = ("label", ("created_by", admin.RelatedOnlyFieldListFilter), "last_error", "run__job")
        date_hierarchy = "drafted_at"

    own, request = OurAdmin(MessageBatch, admin.AdminSite()), RequestFactory().get("/")
    asked = "label label__isnull label__in created_by__id__exact created_by__isnull run__job drafted_at__gte"
    hierarchy = ["drafted_at__year", "drafted_at__month", "drafted_at__day"]
    assert [name for name in [*asked.split(), *hierarchy] if not own.lookup_allowed(name, "1", request)] == []
    others = "label__contains label__year created_by__username created_by__password__gte last_error run__label kind"
    assert [name for name in others.split() if own.lookup_allowed(name, "1", request)] == []


@pytest.mark.parametrize("sortable", [(), ("last_error", "account")])
def test_a_list_is_not_sorted_by_a_hidden_text(
    root: Client, batch: MessageBatch, monkeypatch: pytest.MonkeyPatch, sortable: tuple[str, ...]
) -> None:
    class OurAdmin(MessageBatchAdminMixin, admin.ModelAdmin):
        list_display = ("last_error", "account")
        sortable_by = sortable

    request = RequestFactory().get("/", {"o": "1.-2"})
    request.user = root.get("/admin/").wsgi_request.user
    found = OurAdmin(MessageBatch, admin.AdminSite()).get_changelist_instance(request)
    columns = [str(column) for column in found.queryset.query.order_by]
    assert not any("last_error" in column for column in columns)
    assert any("account" in column for column in columns) == bool(sortable)


def test_a_search_finds_no_hidden_text(root: Client, batch: MessageBatch) -> None:
    in_state(batch, State.QUEUED, last_error=SECRET)
    AccountState.objects.create(alias="default", pause_reason=SECRET)
    run = run_in("paused")
    JobRun.objects.update(pause_reason=SECRET, last_error=SECRET)
    for model, row in ((BATCHES, batch), (RUNS, run)):
        assert url(model, "change", row.pk) in page(root, url(model))
        assert url(model, "change", row.pk) not in page(root, url(model), q=SECRET)
