"""The findings of an account's last audit, each with its meaning and its remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_claude_batches.admin.base.permissions import Viewer
from django_claude_batches.models import AccountState, MessageBatch
from django_claude_batches.services.audits.findings import FindingKind

MEANINGS = {
    FindingKind.UNKNOWN_HERE: gettext_lazy("Anthropic has a batch that is not here. It is billed all the same."),
    FindingKind.UNKNOWN_THERE: gettext_lazy("Anthropic does not have a batch that is here."),
    FindingKind.OTHER_WORKSPACE: gettext_lazy("The account's key cannot see batches that are not finished."),
    FindingKind.COUNTS_DIFFER: gettext_lazy("The results here are not those that Anthropic counted."),
    FindingKind.ABOUT_TO_ARCHIVE: gettext_lazy("Results are about to be lost: soon they can no longer be fetched."),
    FindingKind.STILL_THERE: gettext_lazy("A batch that was to be deleted at Anthropic is still there."),
}

# A command in a remedy.
COMMAND = re.compile("`([^`]*)`")


@dataclass(frozen=True, slots=True)
class ShownFinding:
    """A finding as the page shows it. `url` leads to its batch; empty if it has none or the user may not view it."""

    meaning: Any
    words: str
    remedy: SafeString
    remote_id: str
    batch: int | None
    url: str


def shown_findings(viewer: Viewer, account: AccountState) -> Iterator[ShownFinding]:
    """Yield the stored findings. Their texts quote the API and errors of the project's code."""
    for finding in account.findings:
        batch = finding.get("batch")
        yield ShownFinding(
            meaning=MEANINGS.get(finding["kind"], finding["kind"]),
            words=viewer.visible(finding["words"]),
            remedy=_with_commands(viewer.visible(finding["remedy"])),
            remote_id=finding.get("remote_id", ""),
            batch=batch,
            url="" if batch is None else viewer.row_url(MessageBatch, batch),
        )


def not_shown(account: AccountState) -> str:
    """Return a text that says how to list the findings that the page does not show; empty if it shows all of them."""
    if account.audit_findings <= len(account.findings):
        return ""
    text = _("%(n)s more are not shown here: `manage.py claude_batches audit --account %(account)s` lists them.")
    more = account.audit_findings - len(account.findings)
    return _with_commands(text % {"n": f"{more:,}", "account": account.alias})


def _with_commands(text: str) -> SafeString:
    """Return the text escaped, with each command as code, beginning with manage.py."""
    parts = COMMAND.split(text)  # every second one is a command
    pairs = zip(parts[::2], [*map(_command, parts[1::2]), ""], strict=True)
    return format_html_join("", "{}{}", pairs)


def _command(text: str) -> SafeString:
    return format_html("<code>{}</code>", f"manage.py {text}" if text.startswith("claude_batches ") else text)
