"""Nothing of another account is acted upon, exported, uploaded or started."""

from __future__ import annotations

import json
from typing import Any

import django
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from django_claude_batches import job_registry
from django_claude_batches.admin import MessageBatchAdmin
from django_claude_batches.admin.runs.preview import Seen
from django_claude_batches.admin.runs.start_form import StartForm
from django_claude_batches.models import (
    BatchUpload,
    JobRun,
    State,
)
from django_claude_batches.services.uploads.prepare import prepare
from tests.admin.admin_pages import (
    ACCOUNTS,
    BATCHES,
    RESULTS,
    RUNS,
    act,
    page,
    said,
    url,
)
from tests.admin.visible_accounts.account_rows import (
    JOBS,
    OURS,
    THEIRS,
    client_of,
    state_of,
)
from tests.harness.factories import item
from tests.harness.selections import slow_but
from tests.harness.shop import job

pytestmark = pytest.mark.django_db


ANSWERS = {"word": "abandon", "typed_id": "msgbatch_x", "outcomes": ["missing", "errored"], "retries_before": "0"}


ACTIONS = {
    BATCHES: [verb.name for verb in MessageBatchAdmin.verbs],
    RUNS: ["pause", "resume", "resume_without", "cancel", "retry", "redeliver_failed"],
    ACCOUNTS: ["resume", "confirm_installation"],
}


# The row is not found: Django redirects. Before 6.1 this page has no actions, and read-only rows are refused.
REFUSED = {302} if django.VERSION >= (6, 1) else {302, 403}

EACH_ACTION = [(model, action) for model, actions in ACTIONS.items() for action in actions]


@pytest.mark.parametrize(("model", "action"), slow_but(3, EACH_ACTION))
@pytest.mark.parametrize("across", slow_but(1, ["0", "1"]))
def test_posted_keys_of_another_account_are_not_acted_upon(
    narrowed: Client, theirs: Any, model: str, action: str, across: str
) -> None:
    before = state_of(THEIRS)
    for confirmed in (False, True):
        response = act(
            narrowed, action, *theirs[model], model=model, confirmed=confirmed, select_across=across, **ANSWERS
        )
        assert response.status_code in {200, 302}
        assert THEIRS not in response.content.decode()
        assert not [text for text in said(response) if THEIRS in text]
    for row in theirs[model]:
        data = {"CHANGE_FORM-action": action, "_selected_action": [row.pk], "confirmed": "yes", **ANSWERS}
        assert narrowed.post(url(model, "change", row.pk), data).status_code in REFUSED
    assert state_of(THEIRS) == before


def test_of_mixed_keys_only_those_of_the_own_account_are_acted_upon(narrowed: Client, ours: Any, theirs: Any) -> None:
    drafts = [rows[BATCHES][-1] for rows in (theirs, ours)]
    before = state_of(THEIRS)
    assert said(act(narrowed, "submit", *drafts)) == ["1 batch is queued and goes out shortly."]
    assert state_of(THEIRS) == before
    drafts[1].refresh_from_db()
    assert drafts[1].state == State.QUEUED


def test_nothing_of_another_account_is_exported(narrowed: Client, ours: Any, theirs: Any) -> None:
    address = url(RESULTS, "export", theirs[BATCHES][0].pk)
    assert narrowed.post(address, {"format": "jsonl"}).status_code == 404
    assert not theirs[BATCHES][0].events.filter(what="exported").exists()
    own: Any = narrowed.post(url(RESULTS, "export", ours[BATCHES][0].pk), {"format": "jsonl"})
    assert b"answer-default" in b"".join(own.streaming_content)


def test_a_draft_is_not_moved_to_another_account(narrowed: Client, ours: Any, theirs: Any) -> None:
    own = ours[BATCHES][-1]
    address = url(BATCHES, "change", own.pk)
    data = {"label": "moved", "kind": "", "account": THEIRS, "betas": ""}
    assert "Select a valid choice" in narrowed.post(address, data).content.decode()
    own.refresh_from_db()
    assert (own.account, own.label) == (OURS, "draft-default")
    narrowed.post(address, {**data, "account": OURS})
    client_of(OURS, THEIRS, username="ida").post(address, data)
    own.refresh_from_db()
    assert (own.account, own.label) == (THEIRS, "moved")


def test_a_file_is_not_uploaded_into_another_account(narrowed: Client, ours: Any) -> None:
    def send(account: str) -> Any:
        file = SimpleUploadedFile("new.jsonl", json.dumps(item(0)).encode())
        return narrowed.post(url(BATCHES, "add"), {"file": file, "account": account})

    assert "Select a valid choice" in send(THEIRS).content.decode()
    assert BatchUpload.objects.get(name="new.jsonl").account == OURS  # kept, so that it is not asked for again
    assert send(OURS).status_code == 302
    assert {upload.account for upload in BatchUpload.objects.filter(name="new.jsonl")} == {OURS}
    client_of(username="unassigned").post(url(BATCHES, "add"), {"file": SimpleUploadedFile("x.jsonl", b"{}")})
    assert not BatchUpload.objects.filter(name="x.jsonl").exists()


@pytest.mark.parametrize("button", ["_draft", "_recheck", "_discard"])
def test_an_uploaded_file_of_another_account_does_not_exist(narrowed: Client, theirs: Any, button: str) -> None:
    [upload] = theirs["upload"]
    prepare(upload)
    before = state_of(THEIRS)
    assert THEIRS not in page(narrowed, url(BATCHES, "add"))
    response = narrowed.post(url(BATCHES, "upload", upload.pk), {button: "yes"})
    assert said(response) == ["That file does not exist: it was discarded."]
    assert state_of(THEIRS) == before


def test_a_job_of_another_account_is_not_started(narrowed: Client, ours: Any) -> None:
    start = reverse("admin:django_claude_batches_jobrun_start", args=["tag-zebras"])
    assert narrowed.get(start).status_code == 404
    assert narrowed.post(start, {"_start": "Start", "shown": "x"}).status_code == 404
    assert not JobRun.objects.filter(account=THEIRS).exists()
    assert start in page(client_of(THEIRS, username="ida"), JOBS)


def test_a_run_that_the_job_had_in_another_account_is_not_named(narrowed: Client, theirs: Any) -> None:
    """The job was moved to OURS while its run in THEIRS is active."""
    JobRun.objects.filter(pk=theirs[RUNS][0].pk).update(exclusive="moved", job="moved")
    job("moved")
    try:
        assert url(RUNS, "change", theirs[RUNS][0].pk) not in page(narrowed, JOBS)
        token = StartForm("moved", seen=Seen(1, False))["shown"].value()
        address = reverse("admin:django_claude_batches_jobrun_start", args=["moved"])
        assert said(narrowed.post(address, {"_start": "Start", "shown": token})) == ["The job is running already."]
        ida = client_of(OURS, THEIRS, username="ida")
        assert url(RUNS, "change", theirs[RUNS][0].pk) in page(ida, JOBS)
        assert "run-zebra" in said(ida.post(address, {"_start": "Start", "shown": token}))[0]
    finally:
        job_registry.unregister("moved")


def test_a_second_retry_does_not_name_one_of_another_account(narrowed: Client, ours: Any, moved: Any) -> None:
    response = act(narrowed, "retry", ours[BATCHES][0], **{**ANSWERS, "retries_before": "0"})
    assert "by one that is deleted, or belongs to another account" in response.content.decode()
    assert THEIRS not in response.content.decode()
