"""The values that `visible_accounts` may return, and how often it is called."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from django_claude_batches.admin import MessageBatchAdmin
from django_claude_batches.admin.pages.read_only import MirrorAdminMixin
from django_claude_batches.models import MessageBatch
from tests.admin.admin_pages import (
    BATCHES,
    RESULTS,
    RUNS,
    page,
    url,
)
from tests.admin.base.test_query_plans import PAGES, complaints, large, plans
from tests.admin.visible_accounts.account_rows import (
    JOBS,
    OURS,
    THEIRS,
    client_of,
    compose,
    lists,
    use_urls_of,
)
from tests.harness.factories import draft
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db

__all__ = ["large"]  # the fixture


def test_a_user_of_no_account_sees_pages_without_rows(example: None, ours: Any) -> None:
    client = client_of()
    for address in lists()[:-1]:
        assert client.get(address).status_code == 200, address
        assert not re.search(r"(label|kind|complete|draft|run)-default", client.get(address).content.decode()), address
    assert client.get(lists()[-1]).status_code == 404
    assert "Sending is paused" not in page(client, url(BATCHES))


def test_two_accounts_are_both_seen_and_a_third_one_is_not(example: None, ours: Any, theirs: Any) -> None:
    draft(1, account="third", label="label-third")
    text = page(client_of(OURS, THEIRS), url(BATCHES))
    assert "label-default" in text
    assert "label-zebra" in text
    assert "third" not in text


def test_the_method_is_called_once_for_a_page(narrowed: Client, ours: Any) -> None:
    for address in (url(BATCHES), url(BATCHES, "change", ours[BATCHES][0].pk), url(RESULTS), JOBS):
        page(narrowed, address)
        with CaptureQueriesContext(connection) as captured:
            page(narrowed, address)
        asked = [entry["sql"] for entry in captured if "auth_user_groups" in entry["sql"] and "name" in entry["sql"]]
        assert len([sql for sql in asked if "permission" not in sql]) == 1, address


def test_without_a_limit_no_condition_and_no_join_is_added(example: None) -> None:
    def queries(superuser: bool) -> dict[str, Any]:
        request = RequestFactory().get("/")
        request.user = User.objects.create_user(f"user-{superuser}", is_superuser=superuser)
        pages = [own for own in admin.site._registry.values() if isinstance(own, MirrorAdminMixin)]
        return {own.opts.model_name: own.get_queryset(request).query for own in pages}

    for name, query in queries(superuser=True).items():
        tables = {name: table for name, table in query.alias_map.items() if table.join_type != "LEFT OUTER JOIN"}
        assert (query.where.children, len(tables)) == ([], len(tables) and 1), name
    assert all(query.where.children for query in queries(superuser=False).values())


def test_of_several_pages_the_accounts_that_all_return_are_seen(registry: None, settings: Any, theirs: Any) -> None:
    draft(1, account="third", label="label-third")
    compose(settings, MessageBatch=[OURS, THEIRS], AccountState={THEIRS, "third"})
    text = page(client_of(), url(BATCHES))
    assert "label-zebra" in text
    assert "label-default" not in text
    assert "label-third" not in text


def test_a_text_instead_of_a_collection_is_refused(registry: None, settings: Any) -> None:
    compose(settings, MessageBatch="default")
    with pytest.raises(TypeError, match="must return a collection of aliases or None, not the text 'default'"):
        client_of().get(url(RUNS))


def test_another_site_is_not_limited(example: None, settings: Any, ours: Any, theirs: Any) -> None:
    plain = admin.AdminSite()
    plain.register(MessageBatch, MessageBatchAdmin)
    client = client_of(OURS)
    assert THEIRS not in page(client, url(BATCHES))
    use_urls_of(plain, settings)
    assert THEIRS in page(client, url(BATCHES))


@pytest.mark.database
@pytest.mark.parametrize("others", slow_but(1, [THEIRS, OURS]))
def test_each_list_of_one_account_is_answered_by_indexes(
    registry: None, settings: Any, root: Client, large: MessageBatch, others: str
) -> None:
    """The account has few of the rows, or all of them."""
    MessageBatch.objects.exclude(pk=large.pk).update(account=others)
    compose(settings, MessageBatch=[OURS])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    for model, query in PAGES:
        named = {name: large.pk if value == "large" else value for name, value in query.items()}
        for sql, plan in plans(root, url(model), **named):
            assert not complaints(plan), (model, query, sql[-400:])
