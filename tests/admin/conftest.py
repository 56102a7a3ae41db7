from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from django_claude_batches.models import AccountState, MessageBatch
from tests.admin.admin_pages import ingest

Staff = Callable[..., Client]


@pytest.fixture
def staff(db: None) -> Staff:
    """Return a function that makes a client of a staff user with these permissions of the package, and no others."""

    def make(*codenames: str, username: str = "grace") -> Client:
        user = User.objects.create_user(username, password="grace", is_staff=True)
        found = Permission.objects.filter(content_type__app_label="django_claude_batches", codename__in=codenames)
        assert found.count() == len(codenames)
        user.user_permissions.set(found)
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def root(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    return client


@pytest.fixture
def ticking(db: None) -> AccountState:
    """An account with a tick just now, so that no page shows the notice that nothing is moving."""
    return AccountState.objects.create(alias="default", last_tick_at=timezone.now())


@pytest.fixture
def ingested(batch: MessageBatch) -> MessageBatch:
    """A complete batch of three requests: one succeeded, one errored, and one has no result."""
    return ingest(batch)
