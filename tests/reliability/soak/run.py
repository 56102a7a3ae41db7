"""The rounds of a soak: faults, work, actions of people, kills, and then time."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from django.db.models import Count, Q

from django_claude_batches.models import MessageBatch
from django_claude_batches.models.batch.batch import MessageBatchQuerySet
from django_claude_batches.models.batch_state import ALWAYS_DUE, State
from tests.reliability.site import Site

from . import clock, people, weather
from .workers import Crew

# Batches that are submitted in one round, of a long run.
A_ROUND = 50

FEWEST_ROUNDS = 12
FEWEST_HEALING_ROUNDS, HEALING_ROUNDS = 3, 20

# Longer than any back-off.
AN_HOUR_AND_MORE = timedelta(minutes=70)

# For what waits a day: the newest batch before a create call that was abandoned is deleted after 25 hours.
HOURS = timedelta(hours=6)


@dataclass
class Soak:
    site: Site
    crew: Crew
    random: Random
    batches: int
    seconds: float = math.inf
    submitted: int = 0

    def run(self) -> None:
        """Submit all batches with faults, or as many as fit into `seconds`; then end the faults and complete all."""
        until = time.monotonic() + self.seconds
        rounds = max(FEWEST_ROUNDS, self.batches // A_ROUND)
        for number in range(rounds):
            if time.monotonic() > until:
                break
            if number % 3 == 0:
                weather.change(self.site.claude, self.random)
            self._round(range(self.batches * number // rounds, self.batches * (number + 1) // rounds))
            self._say(f"round {number + 1}/{rounds}")
        self._heal()

    def _round(self, new: range) -> None:
        half = len(new) // 2
        self.submitted += len(new)
        for number in new[:half]:
            people.submit_new(self.random, number)
        self.crew.begin_round()
        for number in new[half:]:
            people.submit_new(self.random, number)
        for _ in range(max(1, len(new) // 5)):
            people.wish(self.random)
        self.crew.end_round(kills=self.random.choice([0, 1, 2, 3]))
        self._meanwhile()
        clock.let_pass(self.site.claude, self.random.choice(clock.STEPS))

    def _meanwhile(self) -> None:
        """At the server, and with the people."""
        people.stranger(self.site.claude, self.random)
        if self.random.random() < 0.5:
            self.site.claude.finish()
        if self.random.random() < 0.8:
            people.resume_all()

    def _heal(self) -> None:
        self.site.claude.clear_faults()
        for number in range(HEALING_ROUNDS):
            clock.let_pass(self.site.claude, HOURS if number > FEWEST_HEALING_ROUNDS else AN_HOUR_AND_MORE)
            self.site.claude.finish()
            people.resume_all()
            if number >= FEWEST_HEALING_ROUNDS and not moving().exists():
                return
            self.crew.begin_round()
            self.crew.end_round(kills=0)
            self._say(f"healing {number + 1}")

    def _say(self, what: str) -> None:
        states = MessageBatch.objects.order_by().values_list("state").annotate(count=Count("pk"))
        counts = ", ".join(f"{count} {state}" for state, count in sorted(states))
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {what}: {counts}; {self.crew.kills} killed\n")


def moving() -> MessageBatchQuerySet:
    """Return the rows that still change automatically, or are still to be deleted at Anthropic."""
    live = Q(state__in=ALWAYS_DUE) | Q(state=State.INGESTED, announced_at__isnull=True)
    wanted = Q(state__in=[State.INGESTED, State.LOST], delete_requested_at__isnull=False)
    return MessageBatch.objects.filter(live | (wanted & Q(remote_deleted_at__isnull=True)))
