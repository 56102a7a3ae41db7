"""The two accounts, the server, and the client's pauses, which take no time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from django.test import override_settings

from django_claude_batches.client import transport
from django_claude_batches.testing import ClaudeEmulator

BENT, HEALTHY = "bent", "healthy"
KEYS = {BENT: "sk-ant-api03-of-the-bent-account", HEALTHY: "sk-ant-api03-of-the-healthy-account"}
WORKSPACES = {BENT: "wrkspc_01of_the_bent_account", HEALTHY: "wrkspc_01of_the_healthy_account"}


class Pauses:
    """Replaces the module `time` for the client: `sleep` returns at once, and `slept` has the sum of its seconds."""

    def __init__(self) -> None:
        self.slept = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept += seconds

    def monotonic(self) -> float:
        return time.monotonic() + self.slept

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)


@contextmanager
def two_accounts(claude: ClaudeEmulator) -> Iterator[Pauses]:
    """Serve two accounts of this emulator, which is entered; yield the pauses of the client."""
    for alias, key in KEYS.items():
        claude.add_key(key, workspace_id=WORKSPACES[alias])
    accounts = {alias: {"API_KEY": key, "BASE_URL": claude.url} for alias, key in KEYS.items()}
    pauses = Pauses()
    with (
        override_settings(CLAUDE_BATCHES={"KICK": False, "ACCOUNTS": accounts}),
        mock.patch.object(transport, "time", pauses),
    ):
        yield pauses
