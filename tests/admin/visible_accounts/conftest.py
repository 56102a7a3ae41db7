"""The admin of the example in docs/how-to/compose-the-admin.md: users see the accounts named like their groups."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client

from django_claude_batches import job_registry
from django_claude_batches.models import (
    MessageBatch,
)
from tests.admin.admin_pages import (
    BATCHES,
)
from tests.admin.visible_accounts.account_rows import (
    OURS,
    THEIRS,
    client_of,
    make_rows,
    use_urls_of,
)
from tests.harness.factories import draft
from tests.harness.shop import job

DOC = Path(__file__).parents[3] / "docs/how-to/compose-the-admin.md"


@pytest.fixture
def registry() -> Iterator[None]:
    """Restore the pages of the site, and the jobs of this module."""
    before = dict(admin.site._registry)
    yield
    admin.site._registry.clear()
    admin.site._registry.update(before)
    for name in ("tag-reviews", "tag-zebras"):
        job_registry.unregister(name)


@pytest.fixture
def example(registry: None, settings: Any) -> None:
    """Execute the documented example, and rebuild the URLs of the site with its page."""
    text = DOC.read_text().partition("## Limit users to some accounts")[2]
    code = re.search(r"```\{code-block\} python\n:caption: [^\n]*\n(.*?)```", text, re.DOTALL)
    assert code
    exec(code[1], {"__name__": "reviews.admin"})
    settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {THEIRS: {}}}
    use_urls_of(admin.site, settings)


@pytest.fixture
def narrowed(example: None) -> Client:
    return client_of(OURS)


@pytest.fixture
def ours(registry: None) -> dict[str, list[Any]]:
    job()
    job("tag-zebras", account=THEIRS)
    return make_rows(OURS, "tag-reviews")


@pytest.fixture
def theirs(ours: Any) -> dict[str, list[Any]]:
    return make_rows(THEIRS, "tag-zebras")


@pytest.fixture
def moved(ours: dict[str, list[Any]], theirs: Any) -> MessageBatch:
    """A draft that retries a batch of OURS, and was moved to THEIRS."""
    batch = draft(1, account=THEIRS, label="moved-zebra")
    MessageBatch.objects.filter(pk=batch.pk).update(parent=ours[BATCHES][0])
    return batch
