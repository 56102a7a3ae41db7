"""The API key is on no page of the admin that can be reached by links."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from django_claude_batches import services
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft

KEY = "sk-ant-api03-CANARY-4f1d0c77"

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("start", "most"),
    [("/admin/django_claude_batches/messagebatch/", 20), pytest.param("/admin/", 200, marks=pytest.mark.slow)],
)
def test_no_admin_page_shows_the_key(start: str, most: int) -> None:
    with ClaudeEmulator(api_key=KEY) as claude:
        batch = services.submit(draft(3))
        services.advance(batch)
        claude.finish()
        services.advance(batch)
    waiting = draft(1)
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    seen = crawl(client, start, most)
    ours = [path for path in seen if "/django_claude_batches/" in path]
    assert any(f"/{batch.pk}/" in path for path in ours), sorted(seen)
    assert any(f"/{waiting.pk}/" in path for path in ours), sorted(seen)
    assert KEY not in "".join(seen.values())


def crawl(client: Client, start: str, most: int) -> dict[str, str]:
    """Return the pages of the admin that can be reached by links from `start`, by path and query."""
    seen: dict[str, str] = {}
    waiting = [start]
    while waiting and len(seen) < most:
        path = waiting.pop(0)
        if path in seen or "logout" in path or not path.startswith("/admin/"):
            continue
        response = client.get(path, follow=True)
        seen[path] = b"".join(response).decode(errors="replace")
        waiting += [link.replace("&amp;", "&") for link in re.findall(r'href="([^"#]+)"', seen[path])]
        waiting += [path.partition("?")[0] + link for link in re.findall(r'href="(\?[^"#]*)"', seen[path])]
    return seen
