"""The findings of the last audit on the page of an account, and who may read them."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.admin.accounts.findings import MEANINGS
from django_claude_batches.error_text import TRACEBACK_START
from django_claude_batches.models import AccountState, MessageBatch
from django_claude_batches.services.audits.findings import MAX_STORED, FindingKind
from django_claude_batches.testing import ClaudeEmulator
from tests.admin.admin_pages import ACCOUNTS, BATCHES, HOSTILE, page, url
from tests.admin.conftest import Staff

pytestmark = pytest.mark.django_db


def finding(number: int = 1, **changes: Any) -> dict[str, Any]:
    id_ = f"msgbatch_{number}"
    found = {"kind": "unknown_here", "words": f"{id_} is no batch here.", "remedy": "Nothing.", "batch": None}
    return {**found, "remote_id": id_, **changes}


def audited(*findings: dict[str, Any], count: int = 0) -> str:
    """Store these findings, and return the URL of the account's page."""
    columns = {"audited_at": timezone.now(), "audit_findings": count or len(findings), "findings": findings}
    account, _made = AccountState.objects.update_or_create(alias="default", defaults=columns)
    return url(ACCOUNTS, "change", account.pk)


def test_each_kind_says_what_it_means() -> None:
    assert set(MEANINGS) == set(FindingKind)


def test_an_audit_s_findings_are_on_the_page_until_the_next_finds_none(root: Client, claude: ClaudeEmulator) -> None:
    """The finding is a batch that another program made; its remedy is the command that adopts it."""
    made = claude.add_stranger(2)
    services.audit("default")
    account = AccountState.objects.get(alias="default")
    shown = page(root, url(ACCOUNTS, "change", account.pk))
    assert "found 1 problem that requires a person" in shown
    assert "Anthropic has a batch that is not here. It is billed all the same." in shown
    assert f"<code>manage.py claude_batches adopt {made} --account default</code>" in shown
    services.adopt(made)
    services.audit("default")
    assert "dcb-findings" not in page(root, url(ACCOUNTS, "change", account.pk))


def test_a_finding_about_a_batch_has_a_button_to_it_for_who_may_view_it(
    root: Client, staff: Staff, batch: MessageBatch
) -> None:
    address = audited(finding(kind="counts_differ", batch=batch.pk))
    button = f'href="{url(BATCHES, "change", batch.pk)}">Open batch #{batch.pk}</a>'
    assert button in page(root, address)
    assert button not in page(staff("view_accountstate"), address)


def test_hostile_texts_are_escaped_and_errors_of_code_are_for_who_may_read_them(root: Client, staff: Staff) -> None:
    remedy = f"Fix what it says (KeyError at app, line 3\n{TRACEBACK_START}\nKeyError: {HOSTILE}), `{HOSTILE}` now."
    address = audited(finding(words=HOSTILE, kind=HOSTILE, remedy=remedy, remote_id=HOSTILE))
    shown = page(root, address)
    assert HOSTILE not in shown
    assert "<code>&lt;script&gt;" in shown
    others = page(staff("view_accountstate"), address)
    assert "KeyError at app, line 3" in others
    assert "KeyError: " not in others


def test_of_many_findings_the_page_says_where_the_others_are(root: Client) -> None:
    address = audited(*map(finding, range(MAX_STORED)), count=1_234)
    shown = page(root, address)
    assert "1,184 more are not shown here: <code>manage.py claude_batches audit --account default</code>" in shown


def test_the_notices_do_not_read_the_findings(root: Client, django_assert_max_num_queries: Any) -> None:
    """They may be large, and every page reads the accounts."""
    audited(*map(finding, range(MAX_STORED)))
    with django_assert_max_num_queries(20) as captured:
        page(root, url(BATCHES))
        page(root, url(ACCOUNTS))
    assert not any('"findings"' in query["sql"] for query in captured)
