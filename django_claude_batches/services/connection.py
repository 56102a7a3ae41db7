"""The way from an account's alias to a client, and the one place where the settings meet the network."""

from __future__ import annotations

import hashlib

from django_claude_batches import conf
from django_claude_batches.client import BatchesClient


def connect(alias: str, *, anthropic_version: str = "") -> BatchesClient:
    """Give a client for the account; raise ConfigurationError if the settings do not know it or have no key for it."""
    account = conf.account(alias)
    return BatchesClient(
        api_key=account.api_key,
        base_url=account.base_url,
        auth=account.auth,
        anthropic_version=anthropic_version or account.anthropic_version,
        workspace_id=account.workspace_id,
        timeout=account.timeouts,
        proxies=account.proxies,
        verify=account.verify,
    )


def fingerprint(alias: str) -> str:
    """Give 16 hexadecimal digits that tell two keys apart and give neither away."""
    key = conf.account(alias).api_key
    return hashlib.sha256(b"django_claude_batches" + key.encode()).hexdigest()[:16]
