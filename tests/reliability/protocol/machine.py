"""The steps of the state machine: actions of people, processes, strangers, the server and time, in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from django_claude_batches import services
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.models import BatchEvent, MessageBatch, Outcome
from tests.harness.factories import draft
from tests.reliability.protocol import invariants
from tests.reliability.protocol.choices import (
    ABSENCES,
    ACCOUNT,
    CALLS,
    COUNTS,
    CRASHES,
    DAY,
    FAULTS,
    HOUR,
    LASTING,
    LINES,
    LISTING,
    MINUTE,
    NAPS,
    NODE,
    OTHER,
    OUTCOMES,
    PASSING,
    ROUNDS,
    ROWS,
    SAYINGS,
    SLEEPS,
    WHICH,
    WISHES,
)
from tests.reliability.protocol.network import CREATE, RESULTS, Fault, Meanwhile, Network
from tests.reliability.protocol.server import FREEDOMS, HONEST, NODES, WHOLE
from tests.reliability.protocol.world import ACCOUNTS, World, is_strangers

Step = Callable[..., None]
STEPS: list[st.SearchStrategy[tuple[Step, dict[str, Any]]]] = []


def step(weight: int = 1, **arguments: st.SearchStrategy[Any]) -> Callable[[Step], Step]:
    """Make a method one of the steps, `weight` times as likely as another."""

    def register(method: Step) -> Step:
        # One after the other: `one_of` counts the same strategy once.
        STEPS.extend(st.tuples(st.just(method), st.fixed_dictionaries(arguments)) for _ in range(weight))
        return method

    return register


class Protocol(RuleBasedStateMachine):
    network: Network

    # How often each event came, over all examples.
    reached: Counter[str]

    # Those of the server.
    freedoms: frozenset[str]

    @classmethod
    def on(cls, network: Network, freedoms: Collection[str] = FREEDOMS) -> Protocol:
        """Give a machine whose steps are called by hand."""
        return cls.kind_on(network, freedoms)()

    @classmethod
    def kind_on(cls, network: Network, freedoms: Collection[str] = FREEDOMS) -> type[Protocol]:
        """Give a class of machines that share a network, and count together what they reach."""
        shared = {"network": network, "reached": Counter(), "freedoms": frozenset(freedoms)}
        return type(cls.__name__, (cls,), shared)

    @initialize(
        on_not_created=st.sampled_from(["retry", "hold"]),
        outcomes=st.lists(OUTCOMES, min_size=1, max_size=2),
        is_shared=st.booleans(),
        counts=SAYINGS,
        listing=LISTING,
        nodes=NODE,
    )
    def begin(
        self,
        on_not_created: str,
        outcomes: list[str],
        *,
        is_shared: bool = True,
        counts: str = HONEST,
        listing: str = WHOLE,
        nodes: Sequence[timedelta] = NODES[0],
    ) -> None:
        self.world = World(self.network, on_not_created=on_not_created, is_shared=is_shared, freedoms=self.freedoms)
        self.world.open()
        self.say_of_counts(counts, None)
        self.list_as(listing)
        self.answer_from(nodes)
        self.stored: invariants.Stored = {}
        for outcome in outcomes:
            self.send(1, outcome, None)

    @rule(step=st.deferred(lambda: st.one_of(STEPS)))
    def take(self, step: tuple[Step, dict[str, Any]]) -> None:
        """The only rule, which draws a step: of many rules, Hypothesis would leave out most for a whole example."""
        method, arguments = step
        method(self, **arguments)

    # Processes.

    @step(weight=4, count=COUNTS, outcome=OUTCOMES, crash_at=CRASHES, account=ACCOUNT)
    def send(self, count: int, outcome: str, crash_at: int | None, account: str = "default") -> None:
        if len(self.world.rows) < ROWS:
            services.submit(draft(count, account=account))
        self.network.fault = None if outcome == "accepted" else Fault(CREATE, outcome)
        self.world.work(self.world.tick, crash_at=crash_at)

    @step(weight=6, after=PASSING, fault=FAULTS, crash_at=CRASHES, ends=st.booleans())
    def tick(self, after: timedelta, fault: Fault | None, crash_at: int | None, *, ends: bool = False) -> None:
        if ends:
            self.end_all()
        self.world.pass_time(after)
        self.network.fault = fault
        self.world.work(self.world.tick, crash_at=crash_at)

    @step(weight=2, name=LINES, crash_at=CRASHES)
    def fetch(self, name: str, crash_at: int | None) -> None:
        """End the running batches, and send results with odd lines, to be stored or to prove a batch."""
        self.tick(11 * MINUTE, Fault(RESULTS, name), crash_at, ends=True)

    @step(weight=2, which=WHICH, fault=FAULTS, crash_at=CRASHES)
    def advance(self, which: int, fault: Fault | None, crash_at: int | None) -> None:
        self.network.fault = fault
        self.to_row(which, lambda row: self.world.work(lambda: services.advance(row), crash_at=crash_at))

    @step(weight=5, call=CALLS, is_before=st.booleans(), absence=ABSENCES, other=OTHER, fault=FAULTS)
    def two_workers(self, call: str, is_before: bool, absence: timedelta, other: str, fault: Fault | None) -> None:
        """Suspend one worker while its call or its answer is on the way; others continue; it wakes up late."""

        def meanwhile() -> None:
            # The body has been sent by now: what is on its way arrives in time. See `suspend` for one that is not.
            is_sending = call == CREATE and is_before
            self.world.pass_time(min(absence, self.world.server.takes - 7 * MINUTE) if is_sending else absence)
            OTHERS[other](self)
            self.world.tick()

        if len(self.world.rows) < ROWS:
            services.submit(draft(1))
        self.network.fault = fault
        self.network.meanwhile = Meanwhile(call, self.world.elsewhere(meanwhile), is_before)
        self.world.work(self.world.tick)

    @step(weight=4, sleep_at=SLEEPS, naps=NAPS, other=OTHER, account=ACCOUNT, fault=FAULTS)
    def suspend(self, sleep_at: int, naps: list[timedelta], other: str, account: str, fault: Fault | None) -> None:
        """Suspend one worker between two statements, or before it sends; others continue; it wakes up late."""

        def meanwhile() -> None:
            OTHERS[other](self)
            for nap in naps:
                self.world.pass_time(nap)
                self.world.tick()

        if len(self.world.rows) < ROWS:
            services.submit(draft(1, account=account))
        self.network.fault = fault
        self.world.work(self.world.tick, sleep_at=sleep_at, meanwhile=meanwhile)

    # People.

    @step(weight=2, which=WHICH, wish=st.sampled_from(sorted(WISHES)))
    def record_intent(self, which: int, wish: str) -> None:
        self.to_row(which, WISHES[wish])

    @step(which=WHICH)
    def pay_twice(self, which: int) -> None:
        """Submit a held row that may have been billed, with `allow_duplicate`."""

        def submit(row: MessageBatch) -> None:
            unknown = row.attempts.filter(outcome=Outcome.UNDECIDED).count()
            services.submit(row, allow_duplicate=True)
            self.world.allowed[row.pk] = unknown

        self.to_row(which, submit)

    @step(which=WHICH, remote=WHICH, is_now=st.booleans())
    def identify(self, which: int, remote: int, is_now: bool) -> None:
        def this_is_it(row: MessageBatch, id: str) -> None:
            if is_now:
                services.adopt(id, for_batch=row)
            else:
                services.identify(row, id)

        self.to_row(which, lambda row: self.to_remote(remote, lambda remote_id: this_is_it(row, remote_id)))

    @step(remote=WHICH, is_all=st.booleans(), account=ACCOUNT)
    def adopt(self, remote: int, is_all: bool, account: str) -> None:
        if is_all:
            self.legal(lambda: services.adopt_all(account))
        else:
            self.to_remote(remote, lambda remote_id: services.adopt(remote_id, account=account))

    @step(weight=2, what=st.sampled_from(["key", "resume", "receivers", "waits"]))
    def administer(self, what: str) -> None:
        """Replace the key, resume paused accounts, break or repair receivers, or change settings."""
        match what:
            case "key":
                self.world.change_key()
            case "resume":
                self.resume()
            case "receivers":
                self.world.receivers.is_broken = not self.world.receivers.is_broken
            case "waits":
                self.world.change_waits()

    # Strangers, the server, and clocks.

    @step(count=COUNTS)
    def decoy(self, count: int) -> None:
        self.world.decoy(count)

    @step(weight=2, which=WHICH)
    def delete_elsewhere(self, which: int) -> None:
        """Delete an ended batch as another program: one that is searched for, a stranger's, or a row's."""
        ended = [batch for batch in self.world.remote if batch.processing_status == "ended" and not batch.deleted]
        # One that is still searched for, and gone before any listing of ours showed it, cannot be told from none.
        rows = set(MessageBatch.objects.values_list("anthropic_id", flat=True))
        shown = [batch.id for batch in ended if batch.id in self.world.shown - rows]
        known = [batch.id for batch in ended if batch.id in rows or is_strangers(batch)]
        if deletable := shown or known:
            self.world.delete_elsewhere(deletable[which % len(deletable)])

    @step()
    def end_all(self) -> None:
        self.world.claude.finish()

    @step(which=WHICH, is_expiry=st.booleans())
    def expire_or_archive(self, which: int, is_expiry: bool) -> None:
        ended = {batch.id for batch in self.world.remote if batch.processing_status == "ended"}
        if is_expiry:
            self.to_remote(which, self.world.claude.expire)
        else:
            self.to_remote(which, lambda found: self.world.claude.archive(found) if found in ended else None)

    @step()
    def land(self) -> None:
        self.network.land()

    @step()
    def pass_a_month(self) -> None:
        self.world.pass_time(30 * DAY)

    @step(by=st.sampled_from([-HOUR, HOUR]))
    def set_clock(self, by: timedelta) -> None:
        self.world.set_clock(by)

    @step(counts=SAYINGS, lasting=LASTING)
    def say_of_counts(self, counts: str, lasting: timedelta | None) -> None:
        self.world.server.say_of_counts(counts, lasting)

    @step(weight=2, listing=LISTING)
    def list_as(self, listing: str) -> None:
        self.world.server.list_as(listing)

    @step(nodes=NODE)
    def answer_from(self, nodes: Sequence[timedelta]) -> None:
        self.world.server.answer_from(nodes)

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
            for _round in range(ROUNDS):
                self.holds()
                if all(invariants.at_rest(self.world, row) for row in self.world.rows):
                    break
                self.world.retry_now()
            invariants.nothing_waits(self.world)
        finally:
            self.reached.update(BatchEvent.objects.values_list("what", flat=True))
            self.world.close()

    def resume(self) -> None:
        for account in ACCOUNTS:
            services.resume(account)

    def to_row(self, which: int, does: Callable[[MessageBatch], Any]) -> None:
        if rows := self.world.rows:
            self.legal(lambda: does(rows[which % len(rows)]))

    def to_each(self, does: Callable[[MessageBatch], Any]) -> None:
        for row in self.world.rows:
            self.legal(lambda row=row: does(row))

    def to_remote(self, which: int, does: Callable[[str], Any]) -> None:
        if remote := [batch.id for batch in self.world.remote if not batch.deleted]:
            self.legal(lambda: does(remote[which % len(remote)]))

    @staticmethod
    def legal(does: Callable[[], Any]) -> None:
        """Call the service if the state and the server allow it; a refusal must change nothing."""
        try:
            does()
        except ClaudeBatchesError:
            return


# What else happens while a process is suspended.
OTHERS: dict[str, Callable[[Protocol], object]] = {
    "nothing": lambda machine: None,
    "end": lambda machine: machine.end_all(),
    "adopt": lambda machine: machine.legal(services.adopt_all),
    "key": lambda machine: machine.world.change_key(),
    **{name: lambda machine, wish=wish: machine.to_each(wish) for name, wish in WISHES.items()},
}
