"""The steps: what people, processes, strangers, the server and time can do, in any order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from django_claude_batches import services
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.models import MessageBatch
from django_claude_batches.models.state import EDITABLE
from tests.making import draft
from tests.protocol import invariants
from tests.protocol.network import (
    BASELINE,
    CANCEL,
    CREATE,
    CREATES,
    DELETE,
    LATE,
    LIST,
    READS,
    RESULT_LINES,
    RESULTS,
    RETRIEVE,
    Fault,
    Meanwhile,
    Network,
)
from tests.protocol.world import World

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ROWS = 3
COUNTS = st.integers(1, 2)
WHICH = st.integers(0, 2 * ROWS)

READING = st.sampled_from([BASELINE, LIST, RETRIEVE, CANCEL, DELETE])
FAULTS = st.one_of(
    st.none(),
    st.builds(Fault, st.just(CREATE), st.sampled_from([LATE, *CREATES])),
    st.builds(Fault, READING, st.sampled_from(sorted(READS))),
    st.builds(Fault, st.just(RESULTS), st.sampled_from([*READS, *RESULT_LINES])),
)
CRASHES = st.one_of(st.none(), st.integers(1, 40))
PASSING = st.sampled_from([MINUTE, 11 * MINUTE, 31 * MINUTE, 65 * MINUTE, 25 * HOUR])
ABSENCES = st.sampled_from([6 * MINUTE, 31 * MINUTE, 2 * HOUR])
"""For how long a process is suspended: past the usual lease, past a sender's, past the quiet period."""


class Protocol(RuleBasedStateMachine):
    network: Network

    @initialize(on_not_created=st.sampled_from(["retry", "hold"]))
    def begin(self, on_not_created: str) -> None:
        self.world = World(self.network, on_not_created=on_not_created)
        self.world.open()
        self.stored: invariants.Stored = {}

    # People.

    @precondition(lambda self: len(self.world.rows) < ROWS)
    @rule(count=COUNTS)
    def submit(self, count: int) -> None:
        services.submit(draft(count))

    @rule(which=WHICH)
    def submit_again(self, which: int) -> None:
        self.to_row(which, lambda row: services.submit(row) if row.state in EDITABLE else None)

    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        self.to_row(which, services.cancel)

    @rule(which=WHICH, discard=st.booleans())
    def delete_remote(self, which: int, discard: bool) -> None:
        self.to_row(which, lambda row: services.delete_remote(row, discard_results=discard))

    @rule(which=WHICH)
    def give_up(self, which: int) -> None:
        self.to_row(which, services.give_up)

    @rule(which=WHICH, remote=WHICH)
    def claim(self, which: int, remote: int) -> None:
        self.to_row(which, lambda row: self.to_remote(remote, lambda id: services.claim(row, id)))

    @rule(which=WHICH, remote=WHICH)
    def adopt_for(self, which: int, remote: int) -> None:
        self.to_row(which, lambda row: self.to_remote(remote, lambda id: services.adopt(id, for_batch=row)))

    @rule(remote=WHICH)
    def adopt(self, remote: int) -> None:
        self.to_remote(remote, lambda id: services.adopt(id))

    @rule()
    def adopt_all(self) -> None:
        services.adopt_all()

    @rule()
    def resume(self) -> None:
        services.resume("default")

    @rule()
    def change_key(self) -> None:
        """The next key belongs to another Workspace."""
        self.world.key = self.world.keys[1 - self.world.keys.index(self.world.key)]

    # Processes.

    @rule(fault=FAULTS, crash_at=CRASHES)
    def tick(self, fault: Fault | None, crash_at: int | None) -> None:
        self.network.fault = fault
        self.world.work(self.world.tick, crash_at=crash_at)

    @rule(which=WHICH, fault=FAULTS, crash_at=CRASHES)
    def advance(self, which: int, fault: Fault | None, crash_at: int | None) -> None:
        self.network.fault = fault
        self.to_row(which, lambda row: self.world.work(lambda: services.advance(row), crash_at=crash_at))

    @rule(
        call=st.sampled_from([CREATE, CREATE, BASELINE, LIST, RETRIEVE, RESULTS, CANCEL, DELETE]),
        is_before=st.booleans(),
        absence=ABSENCES,
        other=st.sampled_from(["tick", "cancel", "delete_remote", "give_up", "adopt_all", "end"]),
        fault=FAULTS,
    )
    def two_workers(self, call: str, is_before: bool, absence: timedelta, other: str, fault: Fault | None) -> None:
        """One is suspended while its call, or its answer, is on the way; the other goes on; the first wakes late."""

        def meanwhile() -> None:
            # What was sent before the first fell asleep arrives within the quiet period, also if it was only sending.
            late_sender = call == CREATE and is_before
            self.world.pass_time(min(absence, 31 * MINUTE) if late_sender else absence)
            if other == "tick":
                return self.world.tick()
            if other == "adopt_all":
                services.adopt_all()
                return None
            if other == "end":
                return self.end_all()
            for row in self.world.rows:
                self.legal(lambda: getattr(services, other)(row))
            return self.world.tick()

        self.network.fault = fault
        self.network.meanwhile = Meanwhile(call, self.world.elsewhere(meanwhile), is_before)
        self.world.work(self.world.tick)

    # Strangers.

    @rule(count=COUNTS)
    def decoy(self, count: int) -> None:
        self.world.decoy(count)

    @rule(which=WHICH)
    def delete_elsewhere(self, which: int) -> None:
        """Somebody deletes an ended batch: a stranger's (which may be a baseline), or one that a row of ours has."""
        known = set(MessageBatch.objects.values_list("anthropic_id", flat=True))
        ended = [batch for batch in self.world.remote if batch.processing_status == "ended" and not batch.deleted]
        # One that is still searched for, and gone before anybody saw its results, cannot be told from none.
        deletable = [batch.id for batch in ended if batch.id in known or batch.custom_ids[0].startswith("stranger")]
        if deletable:
            self.world.delete_elsewhere(deletable[which % len(deletable)])

    # The server.

    @rule()
    def end_all(self) -> None:
        self.world.claude.finish()

    @rule(which=WHICH)
    def expire(self, which: int) -> None:
        self.to_remote(which, self.world.claude.expire)

    @rule(which=WHICH)
    def archive(self, which: int) -> None:
        ended = {batch.id for batch in self.world.remote if batch.processing_status == "ended"}
        self.to_remote(which, lambda id: self.world.claude.archive(id) if id in ended else None)

    @precondition(lambda self: self.network.late)
    @rule()
    def land(self) -> None:
        self.network.land()

    # Time.

    @rule(by=PASSING)
    def pass_time(self, by: timedelta) -> None:
        self.world.pass_time(by)

    @rule()
    def pass_a_month(self) -> None:
        self.world.pass_time(30 * DAY)

    @rule(by=st.sampled_from([-HOUR, HOUR]))
    def set_clock(self, by: timedelta) -> None:
        self.world.set_clock(by)

    # What must hold.

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "world"):
            self.stored = invariants.check(self.world, self.stored)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self.world.heal()
            for _round in range(12):
                self.holds()
                if all(invariants.at_rest(self.world, row) for row in self.world.rows):
                    break
                self.world.go_on()
            invariants.nothing_waits(self.world)
        finally:
            self.world.close()

    def to_row(self, which: int, does: Callable[[MessageBatch], Any]) -> None:
        if rows := self.world.rows:
            self.legal(lambda: does(rows[which % len(rows)]))

    def to_remote(self, which: int, does: Callable[[str], Any]) -> None:
        if remote := [batch.id for batch in self.world.remote if not batch.deleted]:
            self.legal(lambda: does(remote[which % len(remote)]))

    @staticmethod
    def legal(does: Callable[[], Any]) -> None:
        """Do it if the state allows it and the server does: what is refused changes nothing."""
        try:
            does()
        except ClaudeBatchesError:
            return
