"""One trial: batches of both accounts, bent answers for one of them, ticks, and time."""

from __future__ import annotations

import random as everybodys_random
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any, get_args

from django_claude_batches import services
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.models import BatchResult, MessageBatch
from django_claude_batches.models.batch.batch import MessageBatchQuerySet
from django_claude_batches.models.batch_state import State
from django_claude_batches.schedule import TICK_SECONDS
from django_claude_batches.services import engine
from django_claude_batches.services.reconciliation import late_arrivals
from django_claude_batches.testing import Bend, ClaudeEmulator, RandomBends
from django_claude_batches.testing.emulator.faults.bends import Listing
from django_claude_batches.testing.emulator.faults.fields import FIELDS
from django_claude_batches.testing.emulator.faults.mutations import HOWS
from django_claude_batches.testing.emulator.faults.random_bends import HEADERS, is_spared
from django_claude_batches.testing.emulator.http_messages import VERBS
from tests.harness.factories import draft
from tests.reliability.protocol.world import forget_all
from tests.reliability.soak import clock
from tests.reliability.soak.run import moving

from .site import BENT, HEALTHY, KEYS, WORKSPACES, Pauses, two_accounts
from .spared import SPARED
from .watch import Watch

NAMED = {verb: [name for name in fields if "*" not in name] for verb, fields in FIELDS.items()}

ROUNDS = 12

# The number of rounds in which the same answers are bent in the same ways.
ROUNDS_ALIKE = 6

# Rounds of 70 minutes: undecided batches are held after 48 hours.
HEALING_ROUNDS = 45
STEPS = (*clock.STEPS, timedelta(0), timedelta(seconds=5))
LARGEST = 4
NOTHING: tuple[Callable[[MessageBatch], object], tuple[State, ...]] = (str, ())
WISHES = (
    (services.cancel, (State.QUEUED, State.UNCERTAIN, State.IN_PROGRESS)),
    (services.delete_remote, (State.UNCERTAIN, State.IN_PROGRESS, State.INGESTED)),
    (services.abandon, (State.UNCERTAIN,)),
    NOTHING,
    NOTHING,
)


@dataclass
class Seen:
    """The totals of all trials."""

    trials: int = 0
    ticks: int = 0
    batches: int = 0
    results: int = 0
    creates: int = 0
    bent: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


def at_work() -> MessageBatchQuerySet:
    """Return the rows that are not final. One with a bent id is lost, and has no batch at Anthropic to delete."""
    return moving().exclude(state=State.LOST)


def try_seed(seed: int, seen: Seen, *, rounds: int = ROUNDS) -> list[str]:
    """Run one trial in an empty database, empty it again, and return the violations."""
    everybodys_random.seed(seed)  # back-off uses this generator
    random = Random(seed)
    with ClaudeEmulator(seed=seed) as claude, two_accounts(claude) as pauses:
        trial = Trial(claude, pauses, random, Watch(claude, at_most_once=random.random() < 0.5))
        try:
            trial.run(rounds)
        finally:
            trial.count(seen)
            forget_all()
    violations = [f"seed {seed}: {line}" for line in trial.watch.violations]
    seen.violations += violations
    return violations


@dataclass
class Trial:
    claude: ClaudeEmulator
    pauses: Pauses
    random: Random
    watch: Watch
    passed: timedelta = timedelta(0)
    ticks: int = 0

    def run(self, rounds: int) -> None:
        for number in range(rounds):
            if number % ROUNDS_ALIKE == 0:
                self._bend()
            self._submit(BENT, self.random.randint(0, 2))
            self._submit(HEALTHY, self.random.randint(number % 2, 1))
            self._wish()
            self.tick()
            self._meanwhile()
            self.let_pass(self.random.choice(STEPS))
            self.tick()
        self._heal()

    def _bend(self) -> None:
        """Bend a share of the answers, so that the account can still progress, and lose answers to create calls."""
        self.claude.clear_faults()
        key = KEYS[BENT]
        spare = SPARED if self.watch.at_most_once else ()
        self.claude.bend(RandomBends(share=self.random.choice([0.1, 0.3, 0.6]), key=key, spare=spare))
        for verb in ("list", "list", "retrieve", self.random.choice(VERBS)):
            bend = self._lasting(verb, key)
            while is_spared(verb, bend, spare):
                bend = self._lasting(verb, key)
            self.claude.bend(bend)
        self.claude.fault("lost_answer", on="create", times=None, share=0.3, key=key)
        self.claude.fault("never_lands", on="create", times=None, share=0.1, key=key)
        late = {"seconds": self.random.uniform(10, clock.LATEST_LANDING)}
        self.claude.fault("lands_late", on="create", times=None, share=0.1, key=key, **late)

    def _lasting(self, verb: Any, key: str) -> Bend:
        """Draw a bend that lasts: the package may trust an answer that it gets twice."""
        about: dict[str, Any] = {"endpoint": verb, "key": key, "share": self.random.choice([0.5, 0.9, 1.0])}
        how: Any = self.random.choice(list(HOWS))
        if verb == "list" and self.random.random() < 0.15:
            return Bend(listing=self.random.choice(get_args(Listing)), seconds=600, **about)
        if self.random.random() < 0.15:
            return Bend(header=self.random.choice(HEADERS), how=how, **about)
        return Bend(field=self.random.choice(NAMED[verb]), how=how, **about)

    def _submit(self, alias: str, count: int) -> None:
        for _ in range(count):
            services.submit(draft(self.random.randint(1, LARGEST), account=alias))

    def _wish(self) -> None:
        """Call a service for a row whose state allows it, and submit refused and taken back rows again."""
        bent = MessageBatch.objects.filter(account=BENT)
        wanted, states = self.random.choice(WISHES)
        if pks := sorted(bent.filter(state__in=states).values_list("pk", flat=True)):
            with suppress(ClaudeBatchesError):
                wanted(bent.get(pk=self.random.choice(pks)))
        for batch in bent.filter(state__in=[State.REJECTED, State.DRAFT]):
            services.submit(batch)

    def _meanwhile(self) -> None:
        if self.random.random() < 0.2:
            self.claude.add_stranger(self.random.randint(1, LARGEST), workspace_id=WORKSPACES[BENT])
        if self.random.random() < 0.5:
            self.claude.finish()
        if self.random.random() < 0.7:
            services.resume(BENT)

    def tick(self) -> None:
        """Tick as beat does, execute the dispatched work as workers do, and check for violations."""
        self.ticks += 1
        begun = time.monotonic() + self.pauses.slept
        dispatched: dict[int, float] = {}
        waiting = set(MessageBatch.objects.filter(account=HEALTHY, state=State.QUEUED).values_list("pk", flat=True))

        def dispatch(pk: int) -> None:
            dispatched.setdefault(pk, time.monotonic() + self.pauses.slept - begun)

        self._safely("a tick", lambda: engine.tick(dispatch))
        for pk in waiting:
            if dispatched.get(pk, TICK_SECONDS) >= TICK_SECONDS:
                self.watch.found("late", f"a healthy batch was dispatched after {dispatched.get(pk)} s of a tick")
        for pk in dispatched:
            self._safely("a task", lambda pk=pk: engine.advance_if_due(pk))
        self._safely("a watch", late_arrivals.watch_due)
        if self.random.random() < 0.2:
            self._safely("an audit", services.audit)
        self.watch.check(self.passed)

    def _safely(self, what: str, work: object) -> None:
        try:
            work()  # type: ignore[operator]
        except Exception as error:  # noqa: BLE001  what is raised is what is looked for
            at = traceback.extract_tb(error.__traceback__)
            ours = next((each for each in reversed(at) if "django_claude_batches" in each.filename), at[-1])
            place = f"{ours.filename.rpartition('django_claude_batches/')[2]}, {ours.name}"
            self.watch.found("raised", f"{what} raised {type(error).__name__} in {place}: {str(error)[:200]}")

    def let_pass(self, by: timedelta) -> None:
        clock.let_pass(self.claude, by)
        self.passed += by

    def _heal(self) -> None:
        """Stop bending answers, and tick until no row changes any more."""
        self.claude.clear_faults()
        for _ in range(HEALING_ROUNDS):
            self.claude.finish()
            services.resume(BENT)
            self.let_pass(timedelta(minutes=70))
            self.tick()
            if not at_work().exists():
                return
        for batch in at_work():
            self.watch.found("stuck", f"batch {batch.pk} of {batch.account} is {batch.state}: {batch.last_error}")

    def count(self, seen: Seen) -> None:
        seen.trials += 1
        seen.ticks += self.ticks
        seen.batches += MessageBatch.objects.count()
        seen.results += BatchResult.objects.count()
        seen.states.update(MessageBatch.objects.filter(account=BENT).order_by().values_list("state", flat=True))
        seen.creates += len(self.claude.ledger()["creates"])
        seen.bent.update(name for each in self.claude.requests for name in each.faults if ":" in name)
