"""One world: a server, a network, a clock, rows, and the processes that work on them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

from django.db import connection, connections
from django.test import override_settings

from django_claude_batches import models, services
from django_claude_batches.client import BatchesClient
from django_claude_batches.models import AccountState, MessageBatch, SubmitAttempt
from django_claude_batches.testing import ClaudeEmulator
from django_claude_batches.testing.emulator import BatchSnapshot
from tests.making import item
from tests.protocol.clock import Clock
from tests.protocol.network import Network, tag_of

STRANGER = "strangerstran"
"""As long as a tag of ours."""

LANDS_WITHIN = timedelta(minutes=45)
"""A create call that is held back arrives within this time of the database's clock. The quiet period is an assumption
about the server: what arrives later than 50 minutes is outside the promise."""


class Crash(BaseException):
    """The process is dead: nothing of ours catches it, and it makes no more statements."""


class World:
    def __init__(self, network: Network, *, on_not_created: str) -> None:
        self.network = network
        self.claude = ClaudeEmulator(seed=1)
        self.keys = [self.claude.api_key, "sk-ant-api03-of-another-workspace"]
        self.claude.add_key(self.keys[1], workspace_id="wrkspc_another")
        self.key = self.keys[0]
        self.clock = Clock(self.claude.now())
        self.deleted_elsewhere: set[str] = set()
        self._open = ExitStack()
        account = {"API_KEY": lambda: self.key, "BASE_URL": network.url}
        self._settings = {"KICK": False, "ACCOUNTS": {"default": account}, "ON_NOT_CREATED": on_not_created}

    def open(self) -> None:
        self._open.enter_context(self.claude)
        self.network.begin(self.claude.url)
        self._open.enter_context(override_settings(CLAUDE_BATCHES=self._settings))
        self._open.enter_context(self.clock.ruling(lambda seconds: self.pass_time(timedelta(seconds=seconds))))
        connection.inc_thread_sharing()
        self._open.callback(connection.dec_thread_sharing)
        self._open.callback(forget_all)

    def close(self) -> None:
        self._open.close()

    # What there is.

    @property
    def rows(self) -> list[MessageBatch]:
        return list(MessageBatch.objects.order_by("pk"))

    @property
    def remote(self) -> list[BatchSnapshot]:
        return self.claude.batches

    # Time.

    def pass_time(self, by: timedelta) -> None:
        """Everywhere; create calls that were held back arrive while they may."""
        self._let_land(by)
        self.claude.pass_time(by.total_seconds())
        self.clock.move(by)

    def set_clock(self, by: timedelta) -> None:
        """Only the database's clock jumps, and ours."""
        self._let_land(by)
        self.clock.move(by)

    def _let_land(self, by: timedelta) -> None:
        oldest = SubmitAttempt.objects.filter(sent_at__isnull=False, tag__in=self._late_tags()).order_by("sent_at")
        for attempt in oldest:
            if attempt.sent_at is not None and attempt.sent_at + LANDS_WITHIN < self.clock.now + by:
                self.network.land()

    def _late_tags(self) -> list[str]:
        return [tag for tag in self.network.creates if any(tag.encode() in late.body for late in self.network.late)]

    # Processes.

    def tick(self) -> None:
        services.tick(services.advance_if_due)

    def work(self, does: Callable[[], object], *, crash_at: int | None = None) -> None:
        """Be a process that does this; at its `crash_at`-th statement it dies."""
        # What is due now is due a moment later: SQLite's clock counts milliseconds, and its times are compared as text.
        self.pass_time(timedelta(seconds=1))
        try:
            with dying(crash_at):
                does()
        except Crash:
            pass
        finally:
            self.network.fault = self.network.meanwhile = None
        for error in self.network.errors:
            raise error

    def elsewhere(self, does: Callable[[], object]) -> Callable[[], None]:
        """Give what does it in another process: in the relay's thread, while ours waits for the network."""
        shared = connections["default"]

        def other() -> None:
            connections["default"] = shared
            does()

        return other

    # People.

    def change_key(self) -> None:
        self.key = self.keys[1 - self.keys.index(self.key)]

    # Strangers.

    def decoy(self, count: int) -> None:
        """Another tenant of the same Workspace makes a batch, whose ids look like ours."""
        with_tags = [{**item(number), "custom_id": f"{STRANGER}_{number}"} for number in range(count)]
        client = BatchesClient(api_key=self.key, base_url=self.claude.url)
        client.create(with_tags)
        client.close()

    def delete_elsewhere(self, id: str) -> None:
        snapshot = next(batch for batch in self.remote if batch.id == id)
        key = self.keys[snapshot.workspace_id != self.claude.workspace_id]
        client = BatchesClient(api_key=key, base_url=self.claude.url)
        client.delete(id)
        client.close()
        self.deleted_elsewhere.add(id)

    # The end.

    def heal(self) -> None:
        """Nothing more goes wrong: what is on its way arrives, and the account may send."""
        self.network.fault = self.network.meanwhile = None
        while self.network.late:
            self.network.land()
        services.resume("default")

    def go_on(self) -> None:
        """Let an hour pass, in which everything at the server ends and each key has its turn."""
        for key in self.keys:
            self.key = key
            self.claude.finish()
            self.pass_time(timedelta(minutes=75))
            self.work(self.tick)


@contextmanager
def dying(at: int | None) -> Iterator[None]:
    """Raise Crash before the `at`-th statement of this thread, and before each one after it.

    Before a statement is after the commit, or after the network call, that came before it.
    """
    thread, statements = threading.get_ident(), 0

    def count(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        nonlocal statements
        if threading.get_ident() == thread and not sql.startswith(("ROLLBACK", "RELEASE")):
            statements += 1
            if at is not None and statements >= at:
                raise Crash
        return execute(sql, params, many, context)

    with connection.execute_wrapper(count):
        yield


def is_strangers(batch: BatchSnapshot) -> bool:
    return tag_of(batch.custom_ids[0]) == STRANGER


def forget_all() -> None:
    for model in (
        *(models.BatchResult, models.ResultProblem, models.UsageRollup, models.BatchEvent, models.BatchRequest),
        *(SubmitAttempt, MessageBatch, AccountState),
    ):
        rows = model._default_manager.all()
        rows._raw_delete(rows.db)
