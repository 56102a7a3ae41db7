"""The pages and actions of the groups that `claude_batches roles` makes, in tables written by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_claude_batches import job_registry
from django_claude_batches.admin import AccountStateAdmin, JobRunAdmin, MessageBatchAdmin
from django_claude_batches.management.subcommands.roles import ROLES, group_name
from django_claude_batches.models import AccountState, BatchUpload, JobRun, MessageBatch
from tests.admin.admin_pages import (
    ACCOUNTS,
    ANSWER,
    BATCHES,
    PROMPT,
    REQUESTS,
    RESULTS,
    RUNS,
    act,
    ingest,
    page,
    run_in,
    url,
)
from tests.harness.factories import draft
from tests.harness.selections import slow_but
from tests.harness.shop import job

pytestmark = pytest.mark.django_db

VIEWER, OPERATOR, SPENDER = ROLES
ALL, WORKERS, SPENDERS, NO_ROLE = {VIEWER, OPERATOR, SPENDER}, {OPERATOR, SPENDER}, {SPENDER}, set[str]()

ACTIONS = {
    BATCHES: {
        "submit": SPENDERS,
        "take_back": WORKERS,
        "cancel": WORKERS,
        "check": WORKERS,
        "retry": WORKERS,
        "reingest": WORKERS,
        "announce_again": WORKERS,
        "delete_remote": WORKERS,
        "identify": WORKERS,
        "abandon": WORKERS,
        "declare_lost": WORKERS,
        "delete_selected": NO_ROLE,
    },
    RUNS: {
        "pause": WORKERS,
        "resume": WORKERS,
        "resume_without": WORKERS,
        "cancel": WORKERS,
        "retry": SPENDERS,
        "redeliver_failed": WORKERS,
    },
    ACCOUNTS: {"resume": SPENDERS, "confirm_installation": SPENDERS},
}


@dataclass
class Rows:
    batch: MessageBatch
    draft: MessageBatch
    run: JobRun
    account: AccountState
    upload: BatchUpload

    def of(self, model: str) -> Any:
        return {BATCHES: self.batch, RUNS: self.run, ACCOUNTS: self.account}[model]


@pytest.fixture
def rows(db: None) -> Any:
    job()
    call_command("claude_batches", "roles", "--json")
    account = AccountState.objects.create(alias="default", last_tick_at=timezone.now())
    upload = BatchUpload.objects.store([b"x"], name="requests.jsonl")
    yield Rows(ingest(draft(3)), draft(1), run_in("troubled"), account, upload)
    job_registry.unregister("tag-reviews")


def client_of(role: str) -> Client:
    user = User.objects.create_user(role, is_staff=True)
    user.groups.add(Group.objects.get(name=group_name(role)))
    client = Client()
    client.force_login(user)
    return client


def test_the_table_has_each_action() -> None:
    pages = {BATCHES: MessageBatchAdmin, RUNS: JobRunAdmin, ACCOUNTS: AccountStateAdmin}
    assert {name: [verb.name for verb in own.verbs] for name, own in pages.items()} == {
        name: list(actions) for name, actions in ACTIONS.items()
    }


@pytest.mark.parametrize("role", slow_but(2, ROLES))
@pytest.mark.parametrize("model", slow_but(2, ACTIONS))
def test_each_role_has_these_actions(rows: Rows, role: str, model: str) -> None:
    client = client_of(role)
    shown = page(client, url(model))
    for action, roles in ACTIONS[model].items():
        assert (f'value="{action}"' in shown) == (role in roles), action
        response = act(client, action, rows.of(model), model=model, confirmed=False)
        assert (response.status_code != 403) == (role in roles), action


@pytest.mark.parametrize("role", ROLES)
def test_each_role_opens_these_pages(rows: Rows, role: str) -> None:
    result = rows.batch.results.succeeded().get()
    start = reverse("admin:django_claude_batches_jobrun_start", args=["tag-reviews"])
    pages = {
        **{url(model): ALL for model in (BATCHES, RESULTS, REQUESTS, RUNS, ACCOUNTS)},
        **{url(model, name, rows.of(model).pk): ALL for model in ACTIONS for name in ("change", "history")},
        url(RESULTS, "change", result.pk): ALL,
        url(REQUESTS, "change", result.request_id): ALL,
        url(RESULTS, "export", rows.batch.pk): ALL,
        url(RUNS, "jobs"): ALL,
        url(BATCHES, "add"): WORKERS,
        url(BATCHES, "upload", rows.upload.pk): WORKERS,
        start: SPENDERS,
        url(BATCHES, "delete", rows.draft.pk): NO_ROLE,
        url(RUNS, "delete", rows.run.pk): NO_ROLE,
        url(RESULTS, "delete", result.pk): NO_ROLE,
    }
    client = client_of(role)
    for address, roles in pages.items():
        assert client.get(address).status_code == (200 if role in roles else 403), address


@pytest.mark.parametrize("role", ROLES)
def test_each_role_reads_prompts_and_answers(rows: Rows, role: str) -> None:
    client = client_of(role)
    shown = page(client, url(BATCHES, "change", rows.batch.pk))
    assert PROMPT in shown
    assert ANSWER in shown
    exported: Any = client.post(url(RESULTS, "export", rows.batch.pk), {"format": "csv", "columns": ["params"]})
    assert PROMPT.encode() in b"".join(exported.streaming_content)


@pytest.mark.parametrize("role", ROLES)
def test_drafts_are_edited_by_operators(rows: Rows, role: str) -> None:
    data = {"label": "new", "kind": "", "account": "default", "betas": ""}
    response = client_of(role).post(url(BATCHES, "change", rows.draft.pk), data)
    assert response.status_code == (302 if role in WORKERS else 403)
    rows.draft.refresh_from_db()
    assert rows.draft.label == ("new" if role in WORKERS else "")
