"""The notice about a database of another installation, and its confirmation."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from django_claude_batches.models import AccountState

pytestmark = pytest.mark.django_db

LIST = reverse("admin:django_claude_batches_accountstate_changelist")


@pytest.fixture
def copied(settings: Any) -> AccountState:
    settings.CLAUDE_BATCHES = {"KICK": False, "INSTALLATION": "staging"}
    return AccountState.objects.create(alias="default", installation="production")


def test_the_notice_is_shown_until_the_installation_is_confirmed(admin_client: Client, copied: AccountState) -> None:
    words = "and the settings say &quot;staging&quot;: it may be a copy"
    assert words in admin_client.get(LIST).content.decode()
    data = {"action": "confirm_installation", "_selected_action": [copied.pk], "confirmed": "yes"}
    assert admin_client.post(LIST, data).status_code == 302
    copied.refresh_from_db()
    assert copied.installation == "staging"
    assert words not in admin_client.get(LIST).content.decode()
    answer = admin_client.post(LIST, data, follow=True).content.decode()
    assert "is this installation" in answer
