"""The world of one example: a server, a network, a clock, rows, and the processes that work on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

from django.db import connection, connections
from django.test import override_settings

from django_claude_batches import models, services
from django_claude_batches.client import BatchesClient
from django_claude_batches.models import AccountState, MessageBatch, State, SubmitAttempt
from django_claude_batches.services import engine
from django_claude_batches.services.reconciliation import late_arrivals
from django_claude_batches.testing import ClaudeEmulator
from django_claude_batches.testing.emulator import BatchSnapshot
from tests.harness.factories import item
from tests.reliability.protocol.clock import Clock
from tests.reliability.protocol.network import Network, first_custom_id, tag_of
from tests.reliability.protocol.processes import Crash, dying, suspended
from tests.reliability.protocol.receivers import Receivers
from tests.reliability.protocol.server import DELETION, TAKES, TAKES_AT_LEAST, Server

# As long as a tag of ours.
STRANGER = "strangerstran"

SHORT_WAITS = {"SEND_DEADLINE": 60, "CREATE_READ_TIMEOUT": 60}

SECOND = "second"
ACCOUNTS = ("default", SECOND)


class World:
    """Two accounts: `default`, whose key may be replaced by one of another Workspace, and a second one.

    With `is_shared`, the second account's key is of the default one's Workspace, so that each sees the other's batches.
    """

    def __init__(
        self, network: Network, *, on_not_created: str, is_shared: bool, freedoms: Collection[str] = ()
    ) -> None:
        self.network = network
        self.claude = ClaudeEmulator(seed=1)
        self.keys = [self.claude.api_key, "sk-ant-api03-of-another-workspace"]
        self.key = self.keys[0]
        self.second_key = "sk-ant-api03-of-the-second-account"
        of_second = self.claude.workspace_id if is_shared else "wrkspc_second"
        self._workspaces = {
            self.keys[0]: self.claude.workspace_id,
            self.keys[1]: "wrkspc_another",
            self.second_key: of_second,
        }
        for key in (self.keys[1], self.second_key):
            self.claude.add_key(key, workspace_id=self._workspaces[key])
        self.receivers = Receivers()
        self.clock = Clock(self.claude.now())
        self.server = Server(self.claude, self.clock, freedoms)

        # What a listing showed to an account that was searching for it.
        self.shown: set[str] = set()
        self.deleted_elsewhere: set[str] = set()

        # The number of calls of a row that may have been billed when it was submitted again with `allow_duplicate`.
        self.allowed: Counter[int | None] = Counter()
        self._open = ExitStack()
        accounts = {
            "default": {"API_KEY": lambda: self.key, "BASE_URL": network.url},
            SECOND: {"API_KEY": self.second_key, "BASE_URL": network.url},
        }
        self._settings: dict[str, Any] = {"KICK": False, "ACCOUNTS": accounts, "ON_NOT_CREATED": on_not_created}

    def open(self) -> None:
        self._open.enter_context(self.claude)
        self.network.begin(self.claude.url, self.server)
        self._open.enter_context(override_settings(CLAUDE_BATCHES=self._settings))
        self._open.enter_context(self.clock.ruling(lambda seconds: self.pass_time(timedelta(seconds=seconds))))
        self._open.enter_context(self.receivers.connected())
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
        self._let_land(passing=by)
        self.claude.pass_time(by.total_seconds())
        self.clock.pass_time(by)

    def set_clock(self, by: timedelta) -> None:
        """Only the database's clock jumps, and ours."""
        self._let_land(jump=by)
        self.clock.set(by)

    def _let_land(self, **what: timedelta) -> None:
        late = self.network.late
        while late and self.server.is_out_of_time(first_custom_id(late[0]), **what):
            self.network.land()

    def change_waits(self) -> None:
        """Let create calls have a minute to be sent and one to be answered, or undo that: it is for the next ones."""
        if SHORT_WAITS.keys() <= self._settings.keys():
            for name in SHORT_WAITS:
                del self._settings[name]
            self.server.takes = TAKES
        else:
            self._settings |= SHORT_WAITS
            self.server.takes = TAKES_AT_LEAST

    # Processes.

    def tick(self) -> None:
        engine.tick(engine.advance_if_due)
        late_arrivals.watch_due()

    def work(
        self,
        does: Callable[[], object],
        *,
        crash_at: int | None = None,
        sleep_at: int | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """Run this as a process, which dies at its `crash_at`-th statement.

        At its `sleep_at`-th one, or with 0 just before the body of its create call is read, it is suspended, and
        `meanwhile` happens.
        """
        # What is due now is due a moment later: SQLite's clock counts milliseconds, and its times are compared as text.
        self.pass_time(timedelta(seconds=1))
        self.clock.of_sender.sleep_once(meanwhile if sleep_at == 0 else None)
        searching = self._searching()
        self.server.showing.clear()
        try:
            with dying(crash_at), suspended(sleep_at or None, meanwhile):
                does()
            self._note_shown(searching)
        except Crash:
            pass
        finally:
            self.network.fault = self.network.meanwhile = None
            self.clock.of_sender.sleep_once(None)
        for error in self.network.errors:
            raise error

    def _searching(self) -> dict[str, str]:
        """The tags that are searched for, each with its account."""
        attempts = SubmitAttempt.objects.filter(batch__state=State.UNCERTAIN).select_related("batch")
        return {attempt.tag: attempt.batch.account for attempt in attempts if attempt.batch is not None}

    def _note_shown(self, searching: dict[str, str]) -> None:
        """A process that dies may have forgotten what it was shown; others had to write it down."""
        if DELETION not in self.server.freedoms:
            return
        keys = {"default": self.keys, SECOND: [self.second_key]}
        tags = {batch.id: tag_of(batch.custom_ids[0]) for batch in self.remote}
        for key, remote_id in self.server.showing:
            account = searching.get(tags[remote_id])
            if account is not None and key in keys[account]:
                self.shown.add(remote_id)

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
        key = next(key for key, workspace_id in self._workspaces.items() if workspace_id == snapshot.workspace_id)
        client = BatchesClient(api_key=key, base_url=self.claude.url)
        client.delete(id)
        client.close()
        self.deleted_elsewhere.add(id)

    # The end.

    def heal(self) -> None:
        """End all faults: delayed calls arrive, accounts are resumed, and receivers work again."""
        self.network.fault = self.network.meanwhile = None
        while self.network.late:
            self.network.land()
        for account in ACCOUNTS:
            services.resume(account)
        self.receivers.is_broken = False

    def retry_now(self) -> None:
        """Let an hour pass, in which everything at the server ends and each key has its turn."""
        for key in self.keys:
            self.key = key
            self.claude.finish()
            self.pass_time(timedelta(minutes=75))
            self.work(self.tick)


def is_strangers(batch: BatchSnapshot) -> bool:
    return tag_of(batch.custom_ids[0]) == STRANGER


def forget_all() -> None:
    for model in (
        *(models.BatchResult, models.ResultProblem, models.UsageRollup, models.BatchEvent, models.BatchRequest),
        *(SubmitAttempt, MessageBatch, AccountState, models.RemoteBatch),
    ):
        rows = model._default_manager.all()
        rows._raw_delete(rows.db)
