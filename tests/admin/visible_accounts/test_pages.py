"""A user of one account: nothing of another one is seen, counted, found or linked."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from django_claude_batches.models import (
    AccountState,
    MessageBatch,
    State,
)
from tests.admin.admin_pages import (
    ACCOUNTS,
    BATCHES,
    RESULTS,
    RUNS,
    USAGE,
    in_state,
    page,
    said,
    url,
)
from tests.admin.visible_accounts.account_rows import (
    MODELS,
    OURS,
    THEIRS,
    addresses,
    client_of,
    lists,
    queries,
)
from tests.harness.factories import draft
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db


def shown(client: Client, address: str, **query: Any) -> str:
    """Return the page without what differs at each request."""
    client.cookies.pop("messages", None)  # of an earlier redirect
    response: Any = client.get(address, query)
    text = b"".join(response.streaming_content if response.streaming else [response.content]).decode()
    text = re.sub(r'name="(csrfmiddlewaretoken|shown)" value="[^"]*"', "", text)
    return f"{response.status_code} {response.get('Location', '')} {text}"


def everything_of(client: Client, ours: dict[str, list[Any]]) -> dict[str, str]:
    found = {address: shown(client, address) for address in [*lists(), *addresses(ours)]}
    return found | {f"{model} {query}": shown(client, url(model), **query) for model, query in queries(ours, OURS)}


@pytest.mark.slow
def test_each_page_is_as_if_there_were_no_other_account(narrowed: Client, ours: Any, request: Any) -> None:
    """No character of texts, links, counts, choices of filters or notices differs when rows of THEIRS exist."""
    before = everything_of(narrowed, ours)
    request.getfixturevalue("moved")
    after = everything_of(narrowed, ours)
    assert [address for address in before if before[address] != after[address]] == []
    assert not [address for address, text in after.items() if THEIRS in text.replace("q=zebra", "")]
    assert sum(text.startswith("200") for text in before.values()) > 60
    everybody = everything_of(client_of(username="ada", superuser=True), ours)
    assert [address for address in everybody if THEIRS in everybody[address]], "they are there for others"


@pytest.mark.database
@pytest.mark.parametrize("address", slow_but(1, map(url, [USAGE, *MODELS])))
def test_lists_and_notices_have_no_row_of_another_account(
    narrowed: Client, ours: Any, request: Any, address: str
) -> None:
    before = shown(narrowed, address)
    request.getfixturevalue("theirs")
    assert shown(narrowed, address) == before
    assert THEIRS not in before
    assert THEIRS in page(client_of(username="ada", superuser=True), address)


@pytest.mark.parametrize("model", slow_but(1, MODELS))
def test_no_page_of_another_accounts_row_opens(narrowed: Client, theirs: Any, model: str) -> None:
    for address in (address for address in addresses(theirs) if f"/{model}/" in address):
        response = narrowed.get(address)
        assert response.status_code in ({403} if address.endswith("/delete/") else set()) | {302, 404}, address
        if response.status_code == 302:  # Django's and ours say that there is no such row
            assert re.search("doesn.t exist|does not exist", said(response)[-1]), address
            assert response.url in {"/admin/", url(BATCHES, "add")}, address


@pytest.mark.parametrize("model", slow_but(1, MODELS))
def test_nothing_of_another_account_is_found_or_filtered(narrowed: Client, theirs: Any, model: str) -> None:
    for query in (query for listed, query in queries(theirs, THEIRS) if listed == model):
        response = narrowed.get(url(model), query)
        assert response.status_code == 200, (model, query)
        rows = response.context["cl"].result_list
        of = {BATCHES: "account", RUNS: "account", ACCOUNTS: "alias"}.get(model)
        assert {getattr(row, of) if of else row.batch.account for row in rows} <= {OURS}, (model, query)
        answer = response.content.decode()
        typed = {str(value) for value in query.values() if THEIRS in str(value)}
        for value in sorted(typed, key=len, reverse=True):
            answer = answer.replace(value, "")
        assert THEIRS not in answer, (model, query)


def test_the_results_of_a_batch_of_another_account_have_no_title_and_no_kinds(narrowed: Client, theirs: Any) -> None:
    filtered = page(narrowed, url(RESULTS), batch=theirs[BATCHES][0].pk)
    assert "kind of error" not in filtered
    assert "of batch" not in filtered


def test_a_batch_that_retries_one_of_another_account_does_not_name_it(narrowed: Client, ours: Any, theirs: Any) -> None:
    own = ours[BATCHES][-1]
    MessageBatch.objects.filter(pk=own.pk).update(parent=theirs[BATCHES][0])
    address = url(BATCHES, "change", own.pk)
    assert THEIRS not in page(narrowed, address)
    assert f"complete-{THEIRS}" in page(client_of(OURS, THEIRS, username="ida"), address)


def test_checks_that_may_name_an_account_are_not_shown(narrowed: Client, settings: Any) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {THEIRS: {"APIKEY": ""}}}
    notice = re.compile("<li>django_claude_batches.E[^<]*zebra")
    assert notice.search(page(client_of(username="ada", superuser=True), url(BATCHES)))
    assert not notice.search(page(narrowed, url(BATCHES)))


def test_due_work_of_another_account_makes_no_notice(narrowed: Client) -> None:
    in_state(draft(1, account=THEIRS), State.QUEUED)
    draft(1)
    assert "Nothing is moving" in page(client_of(THEIRS, username="ida"), url(BATCHES))
    assert "Nothing is moving" not in page(narrowed, url(BATCHES))
    AccountState.objects.create(alias=OURS)
    assert "Nothing is moving" not in page(narrowed, url(BATCHES))
