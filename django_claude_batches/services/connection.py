"""The way from an account's alias to a client, and the one place where the settings meet the network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from functools import lru_cache

from django.db import connections, transaction

from django_claude_batches import conf
from django_claude_batches.client import BatchesClient
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.models import MessageBatch
from django_claude_batches.services.guarding import guard
from django_claude_batches.services.slowness import noticing


class InsideTransaction(ClaudeBatchesError, RuntimeError):
    """A verb that talks to Anthropic was called inside a transaction."""


def connect(alias: str, *, anthropic_version: str = "") -> BatchesClient:
    """Give a client for the account. Clients are kept, and their connections with them.

    Raise ConfigurationError if the settings do not know the account or have no key for it, and OtherInstallation in
    what may be a copy of the database.
    """
    guard(alias)
    return client_of(alias, anthropic_version=anthropic_version, is_noticed=True)


def client_of(alias: str, *, anthropic_version: str = "", is_noticed: bool = False) -> BatchesClient:
    """Give a client also in what may be a copy of the database: to look, and not to act.

    With `is_noticed` calls that are too slow are noted on the account's row.
    """
    account = conf.account(alias)
    problem = ""
    try:
        return _client(
            alias if is_noticed else "",
            account.api_key,
            account.base_url,
            account.auth,
            anthropic_version or account.anthropic_version,
            account.workspace_id,
            account.timeouts,
            _pairs(account.proxies),
            account.verify,
        )
    except ValueError as error:
        problem = str(error)
    raise conf.ConfigurationError(f'Account "{alias}": {problem}')


def fingerprint(alias: str) -> str:
    """Give 16 hexadecimal digits that tell two ways to the API apart (server, Workspace, key) and give none away."""
    account = conf.account(alias)
    way = "\n".join(["django_claude_batches", account.base_url, account.workspace_id or "", account.api_key])
    return hashlib.sha256(way.encode()).hexdigest()[:16]


def outside_transactions(name: str) -> None:
    """Raise InsideTransaction if a transaction is open: a rollback would forget what was paid for."""
    connection = connections[MessageBatch.objects.primary().db]
    # With autocommit off, `atomic()` neither commits nor is refused.
    inside = not connection.in_atomic_block and not connection.get_autocommit()
    try:
        with transaction.atomic(using=connection.alias, durable=True):
            pass
    except RuntimeError:
        inside = True
    if inside:
        raise InsideTransaction(
            f"{name} talks to Anthropic and commits as it goes: it cannot run inside a transaction (atomic(), a view "
            "under ATOMIC_REQUESTS, autocommit off). Record a wish there with submit(), cancel() or delete_remote(): a "
            "worker does it."
        )


@lru_cache(maxsize=16)
def _client(
    alias: str,
    key: str,
    base_url: str,
    auth: str,
    anthropic_version: str,
    workspace_id: str | None,
    timeouts: tuple[float, float],
    proxies: tuple[tuple[str, str], ...] | None,
    verify: bool | str,  # noqa: FBT001 (requests' own argument)
) -> BatchesClient:
    return BatchesClient(
        api_key=key,
        base_url=base_url,
        auth="x-api-key" if auth == "x-api-key" else "bearer",
        anthropic_version=anthropic_version,
        workspace_id=workspace_id,
        timeout=timeouts,
        proxies=None if proxies is None else dict(proxies),
        verify=verify,
        around=noticing(alias) if alias else nullcontext,
    )


def _pairs(proxies: Mapping[str, str] | None) -> tuple[tuple[str, str], ...] | None:
    return None if proxies is None else tuple(sorted(proxies.items()))
