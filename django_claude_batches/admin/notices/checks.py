"""What `manage.py check` would say of us. A server that was started without it goes on with wrong settings."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import WARNING

from django_claude_batches import checks, conf
from django_claude_batches.admin.notices.notice import Notice
from django_claude_batches.pricing import PriceTable


def failed_checks() -> Iterator[Notice]:
    """Give our checks that fail and are not silenced. They read the settings and no table, and mend only there."""
    for check in checks.ALL:
        for message in check(app_configs=None):
            if message.level >= WARNING and not message.is_silenced():
                yield Notice(f"{message.id}: {message.msg} {message.hint or ''}".rstrip())


def known_accounts() -> list[str]:
    """Give the accounts of the settings; none where those cannot be read, which a failed check says."""
    try:
        return sorted(conf.accounts())
    except conf.ConfigurationError:
        return []


def known_installation() -> str:
    """Give the name of this installation; none where the settings cannot be read, which a failed check says."""
    try:
        return conf.installation()
    except conf.ConfigurationError:
        return ""


def known_prices() -> PriceTable | None:
    """Give the prices; none where the settings cannot be read, which a failed check says."""
    try:
        return conf.prices()
    except conf.ConfigurationError:
        return None
