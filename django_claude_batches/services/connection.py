"""Build a client from an account's settings, and refuse to use one inside a transaction."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache

from django.db import connections, transaction

from django_claude_batches import conf
from django_claude_batches.client import BatchesClient
from django_claude_batches.exceptions import InsideTransaction
from django_claude_batches.models import MessageBatch
from django_claude_batches.services.installation import require_own_installation
from django_claude_batches.services.slow_accounts import recording_slow_calls


def connect(alias: str, *, anthropic_version: str = "") -> BatchesClient:
    """Return a client for the account. Clients are kept, and their connections with them.

    Raise ConfigurationError if the settings do not have the account or a key for it, and OtherInstallation if the
    database may be a copy.
    """
    require_own_installation(alias)
    return client_of(alias, anthropic_version=anthropic_version, records_slow_calls=True)


def client_of(alias: str, *, anthropic_version: str = "", records_slow_calls: bool = False) -> BatchesClient:
    """Return a client also in what may be a copy of the database: to look, and not to act.

    With `records_slow_calls`, calls that are too slow are recorded on the account's row.
    """
    account = conf.account(alias)
    problem = ""
    try:
        return _client(_Arguments.of(account, anthropic_version), alias if records_slow_calls else "")
    except ValueError as error:
        problem = str(error)
    raise conf.ConfigurationError(f'Account "{alias}": {problem}')


def require_no_transaction(name: str) -> None:
    """Raise InsideTransaction if a transaction is open: a rollback would lose the record of a paid call."""
    connection = connections[MessageBatch.objects.primary().db]
    # With autocommit off, `atomic()` neither commits nor raises.
    inside = not connection.in_atomic_block and not connection.get_autocommit()
    try:
        with transaction.atomic(using=connection.alias, durable=True):
            pass
    except RuntimeError:
        inside = True
    if inside:
        raise InsideTransaction(
            f"{name} talks to Anthropic and commits as it goes: it cannot run inside a transaction (atomic(), a view "
            "under ATOMIC_REQUESTS, autocommit off). Call submit(), cancel() or delete_remote() there: they record "
            "what a worker then does."
        )


@dataclass(frozen=True, repr=False)
class _Arguments:
    """The arguments of a client, as the key of the cache. No repr: error reports print the locals of frames."""

    key: str
    base_url: str
    auth: str
    anthropic_version: str
    workspace_id: str | None
    timeouts: tuple[float, float]
    total_timeout: float | None
    min_results_rate: float
    proxies: tuple[tuple[str, str], ...] | None
    verify: bool | str
    allow_http: bool

    @classmethod
    def of(cls, account: conf.Account, anthropic_version: str) -> _Arguments:
        return cls(
            key=account.api_key,
            base_url=account.base_url,
            auth=account.auth,
            anthropic_version=anthropic_version or account.anthropic_version,
            workspace_id=account.workspace_id,
            timeouts=account.timeouts,
            total_timeout=account.total_timeout,
            min_results_rate=account.min_results_rate,
            proxies=None if account.proxies is None else tuple(sorted(account.proxies.items())),
            verify=account.verify,
            allow_http=account.allow_http,
        )


@lru_cache(maxsize=16)
def _client(arguments: _Arguments, slow_calls_of: str) -> BatchesClient:
    return BatchesClient(
        api_key=arguments.key,
        base_url=arguments.base_url,
        auth="x-api-key" if arguments.auth == "x-api-key" else "bearer",
        anthropic_version=arguments.anthropic_version,
        workspace_id=arguments.workspace_id,
        timeout=arguments.timeouts,
        total_timeout=arguments.total_timeout,
        min_results_rate=arguments.min_results_rate,
        proxies=None if arguments.proxies is None else dict(arguments.proxies),
        verify=arguments.verify,
        allow_http=arguments.allow_http,
        around=recording_slow_calls(slow_calls_of) if slow_calls_of else nullcontext,
    )
