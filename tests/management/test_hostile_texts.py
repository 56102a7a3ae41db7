"""Control characters in a label, an answer or an error: no command prints them to the terminal unescaped."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.management.cli.console import CLEAR_LINE
from django_claude_batches.management.commands.claude_batches import ALL
from django_claude_batches.models import (
    AccountState,
    BatchResult,
    DeliveryChunk,
    FailedDelivery,
    JobRun,
    MessageBatch,
    State,
    UsageRollup,
)
from django_claude_batches.sanitize import UNPRINTABLE, printable
from django_claude_batches.testing import ClaudeEmulator
from tests.admin.admin_pages import in_state, ingest, run_in
from tests.harness.factories import draft
from tests.harness.selections import slow_but
from tests.harness.shop import job, reviews
from tests.management.conftest import Manage, Ran
from tests.modules.test_printable import HOSTILE as WITH_A_HALF

HOSTILE = WITH_A_HALF.replace("\ud800", "")
# Texts that come from code or the settings, or must have a certain value.
FIXED = {
    *("state", "processing_status", "kind", "job", "account", "alias", "exclusive", "lease_token"),
    *("custom_id", "object_id", "params_text", "cells_text", "user_profile_id"),
}

pytestmark = pytest.mark.django_db


def plant() -> None:
    """Put it into each text column that is long enough."""
    found = {MessageBatch, JobRun, AccountState, BatchResult, FailedDelivery, DeliveryChunk}
    for model in {*found, *(relation.related_model for relation in MessageBatch._meta.related_objects)}:
        for field in model._meta.fields:
            free = isinstance(field, (models.CharField, models.TextField)) and not (field.choices or field.unique)
            if (
                free
                and not (model is UsageRollup and field.name == "model")
                and field.name not in FIXED
                and (field.max_length or 100) >= len(HOSTILE)
            ):
                model._default_manager.update(**{field.name: HOSTILE})


def check(ran: Ran, *, is_shown: bool = True) -> None:
    shown = (ran.out + ran.err).replace(CLEAR_LINE, "")
    assert not UNPRINTABLE.search(shown.replace("\n", "")), shown
    assert not [line for line in shown.split("\n") if line.lstrip().startswith("FORGED")], shown
    assert ("FORGED" in shown) == is_shown, shown


@pytest.fixture
def rows(claude: ClaudeEmulator) -> dict[str, Any]:
    found: dict[str, Any] = {name: draft(2) for name in ("draft", "queued", "uncertain", "held", "rejected", "running")}
    for name in ("queued", "uncertain", "held", "rejected"):
        in_state(found[name], State[name.upper()])
    in_state(found["running"], State.IN_PROGRESS, misses=3, missed_at=timezone.now())
    found["done"] = ingest(draft(3))
    found["run"] = run_in("troubled")
    found["paused"] = run_in("stuck")
    JobRun.objects.filter(pk=found["paused"].pk).update(paused_at=timezone.now())
    AccountState.objects.update_or_create(alias="default", defaults={"paused_at": timezone.now()})
    plant()
    return found


COMMANDS = {
    "status": ["draft", "queued", "uncertain", "held", "rejected", "running", "done"],
    "runs": [],
    "usage": ["--by", "starter"],
    "wait": ["done", "held", "--timeout", "0.1"],
    "cancel": ["running"],
    "delete-remote": ["done"],
    "reingest": ["done"],
    "retry": ["done"],
    "reconcile": ["uncertain"],
    "abandon": ["uncertain"],
    "declare-lost": ["running"],
    "pause-run": ["run"],
    "resume-run": ["paused"],
    "cancel-run": ["run"],
    "retry-run": ["run"],
    "doctor": [],
    "tick": [],
    "submit": ["draft"],
}
# Commands that show no text of these rows, or have a test of their own.
SILENT = {"adopt", "audit", "confirm-installation", "draft", "erase", "export", "purge", "resume", "roles", "run"}


def test_each_command_is_looked_at() -> None:
    assert {command.name for command in ALL} == {*COMMANDS, *SILENT}


@pytest.mark.parametrize("as_json", slow_but(1, [False, True]))
@pytest.mark.parametrize("name", slow_but(2, COMMANDS))
def test_a_command_that_shows_rows(manage: Manage, rows: dict[str, Any], name: str, as_json: bool) -> None:
    given = [getattr(rows.get(each), "pk", each) for each in COMMANDS[name]]
    check(manage(name, *given, *(["--json"] if as_json else []), terminal=not as_json))


@pytest.mark.parametrize("name", slow_but(2, sorted(SILENT - {"export", "draft", "adopt", "run"})))
def test_a_command_that_shows_none(manage: Manage, rows: dict[str, Any], name: str) -> None:
    ran = manage(name)
    check(ran, is_shown="FORGED" in ran.out + ran.err)


def test_an_export_that_goes_to_a_file(manage: Manage, rows: dict[str, Any], tmp_path: Any) -> None:
    check(manage("export", rows["done"].pk, "--output", tmp_path / "results.jsonl"))


def test_a_file_whose_rows_cannot_be_drafted(manage: Manage, tmp_path: Any) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(f'{{"custom_id": "a", "params": {{}}, "{printable(HOSTILE)}": 1}}\n')
    check(manage("draft", path, "--dry-run"))


def test_a_job_whose_code_raises(manage: Manage) -> None:
    reviews(1)

    def get_prompt(self: Any, review: Any) -> str:
        raise ValueError(HOSTILE)

    job(get_prompt=get_prompt)
    check(manage("run", "tag-reviews", "--dry-run"))


def test_what_the_api_says(manage: Manage, claude: ClaudeEmulator, caplog: pytest.LogCaptureFixture) -> None:
    batch = services.submit(draft(1))
    claude.fault("refusal", on="create", message=HOSTILE)
    manage("tick")
    batch.refresh_from_db()
    assert batch.state == State.REJECTED
    check(manage("status", batch.pk))
    check(manage("adopt", "msgbatch_unknown"), is_shown=False)
    assert not UNPRINTABLE.search(caplog.text.replace("\n", ""))
