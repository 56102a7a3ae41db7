"""The statements of docs/how-to/test-your-app.md about transactions and Celery's eager mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import current_app
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoCaptureOnCommitCallbacks

from django_claude_batches import services
from django_claude_batches.exceptions import InsideTransaction
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft


@pytest.fixture
def eager(settings: Any) -> Iterator[None]:
    settings.CLAUDE_BATCHES = {"KICK": True}
    conf = current_app.conf
    conf.task_always_eager = True
    yield
    conf.task_always_eager = False


@pytest.mark.django_db
def test_in_eager_mode_the_admins_tick_sends_the_batch(
    claude: ClaudeEmulator,
    batch: MessageBatch,
    eager: None,
    client: Client,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    client.force_login(User.objects.create_superuser("root", password="x"))
    url = reverse("admin:django_claude_batches_messagebatch_changelist")
    with django_capture_on_commit_callbacks(execute=True):
        client.post(url, {"action": "submit", "_selected_action": [batch.pk], "confirmed": "yes"})
        batch.refresh_from_db()
        assert batch.state == State.QUEUED
    batch.refresh_from_db()
    assert batch.state == State.IN_PROGRESS
    assert len(claude.batches) == 1


@pytest.mark.django_db(transaction=True)
def test_an_intent_is_rolled_back_with_its_transaction() -> None:
    batch = draft(1)
    with transaction.atomic():
        services.submit(batch)
        transaction.set_rollback(True)
    batch.refresh_from_db()
    assert batch.state == State.DRAFT


@pytest.mark.django_db(transaction=True)
def test_services_that_send_http_are_refused_inside_a_transaction(claude: ClaudeEmulator) -> None:
    batch = services.submit(draft(1))
    calls = (
        lambda: services.advance(batch),
        lambda: services.wait(batch, timeout=0),
        lambda: services.adopt("msgbatch_01QqYr4Qk28BBxwJ9N9L4PxX"),
    )
    for call in calls:
        with pytest.raises(InsideTransaction), transaction.atomic():
            call()
    assert claude.requests == []
