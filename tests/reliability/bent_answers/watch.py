"""Check after each step what must hold, by the rows and by the server's ledger."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from django_claude_batches.models import (
    AccountState,
    BatchEvent,
    BatchRequest,
    BatchResult,
    MessageBatch,
    ResultProblem,
    SubmitAttempt,
)
from django_claude_batches.models.batch_state import State
from django_claude_batches.testing import ClaudeEmulator

from .site import HEALTHY

UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
IS_OF_PYTHON = re.compile(r"^(\w+\.)*\w*(Error|Exception|Warning): |Traceback|<[\w.]+ object at 0x")

# Characters to which the package cuts each text.
LONGEST = 10_000

# The time limit from the end of a healthy batch at the server until its results are stored: the longest time between
# two polls, and one or two rounds for the worker.
IN_TIME = timedelta(minutes=30)

Stored = dict[tuple[int, str], tuple[str, str, str]]


@dataclass
class Watch:
    """Records what was seen, and `violations`, a line for each, which begins with its kind."""

    claude: ClaudeEmulator
    at_most_once: bool
    violations: list[str] = field(default_factory=list)
    _stored: Stored = field(default_factory=dict)
    _known: dict[int, tuple[int, set[str]]] = field(default_factory=dict)
    _ended: dict[int, timedelta] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def found(self, kind: str, what: str, *, about: object = None) -> None:
        """Record a violation once, or with `about` once for the same object."""
        line = f"{kind}: {' '.join(repr(what)[1:-1].split())[:400]}"
        key = line if about is None else f"{kind} {about}"
        if key not in self._told:
            self._told.add(key)
            self.violations.append(line)

    def check(self, now: timedelta) -> None:
        self._nothing_is_lost()
        self._errors_are_readable()
        self._healthy_in_time(now)
        if self.at_most_once:
            self._paid_once()

    def _nothing_is_lost(self) -> None:
        stored = {
            (result.batch_id, result.custom_id): (result.result_type, repr(result.message), result.error_message)
            for result in BatchResult.objects.all()
        }
        for key, value in self._stored.items():
            if stored.get(key) != value:
                self.found("lost", f"the result of {key} was {value}, and is {stored.get(key)}")
        self._stored = stored
        counts = Counter(BatchRequest.objects.values_list("batch_id", flat=True))
        attempts = SubmitAttempt.objects.filter(remote_id__isnull=False).values_list("batch_id", "remote_id")
        ids = {(pk, str(remote_id)) for pk, remote_id in attempts}
        ids |= {(pk, id_) for pk, id_ in MessageBatch.objects.values_list("pk", "anthropic_id") if id_}
        for pk, (count, remote_ids) in self._known.items():
            if counts[pk] != count:
                self.found("lost", f"batch {pk} had {count} requests, and has {counts[pk]}")
            if gone := remote_ids - {id_ for owner, id_ in ids if owner == pk}:
                self.found("lost", f"batch {pk} had the ids {gone}")
        self._known = {pk: (count, {id_ for owner, id_ in ids if owner == pk}) for pk, count in counts.items()}

    def _errors_are_readable(self) -> None:
        for where, text in _texts():
            if UNPRINTABLE.search(text):
                self.found("unreadable", f"{where} has control characters or halves of characters: {text[:200]!r}")
            elif IS_OF_PYTHON.search(text):
                self.found("unreadable", f"{where} is Python's: {text[:200]!r}")
            elif len(text) > LONGEST:
                self.found("unreadable", f"{where} has {len(text)} characters: {text[:200]!r}")

    def _healthy_in_time(self, now: timedelta) -> None:
        """Check that batches from before the last tick are sent, and that results of ended ones are stored in time."""
        healthy = MessageBatch.objects.filter(account=HEALTHY)
        ended = {batch.id for batch in self.claude.batches if batch.processing_status == "ended"}
        for batch in healthy:
            about = f"batch {batch.pk} of the healthy account is {batch.state}: {batch.last_error}"
            if batch.state in (State.QUEUED, State.SUBMITTING):
                self.found("late", f"not sent; {about}", about=batch.pk)
            elif batch.state not in (State.IN_PROGRESS, State.ENDED, State.INGESTED):
                self.found("healthy", about)
            if batch.anthropic_id not in ended:
                continue
            since = now - self._ended.setdefault(batch.pk, now)
            complete = batch.state == State.INGESTED and batch.announced_at is not None
            if since > IN_TIME and not complete:
                self.found("late", f"not stored {since} after it ended; {about}", about=batch.pk)
            if complete and (batch.missing_count or batch.results.count() != batch.request_count):
                self.found("healthy", f"{batch.missing_count} results are missing; {about}")

    def _paid_once(self) -> None:
        rows = dict(SubmitAttempt.objects.values_list("tag", "batch_id"))
        tags = (batch.custom_ids[0].partition("_")[0] for batch in self.claude.batches if not batch.stranger)
        paid = Counter(rows.get(tag) for tag in tags)
        for pk, count in paid.items():
            if pk is None:
                self.found("paid twice", f"{count} batches of no attempt")
            elif count > 1:
                self.found("paid twice", f"batch {pk} was made {count} times: {_history(pk)}", about=pk)


def _texts() -> Iterator[tuple[str, str]]:
    for pk, text in MessageBatch.objects.exclude(last_error="").values_list("pk", "last_error"):
        yield f"the error of batch {pk}", text
    for pk, text in BatchEvent.objects.exclude(text="").values_list("batch_id", "text"):
        yield f"the timeline of batch {pk}", text
    for alias, text in AccountState.objects.exclude(pause_reason="").values_list("alias", "pause_reason"):
        yield f"why account {alias} is paused", text
    for pk, text in ResultProblem.objects.values_list("batch_id", "reason"):
        yield f"a problem of batch {pk}", text
    for pk, candidates in SubmitAttempt.objects.values_list("batch_id", "candidates"):
        yield from ((f"a candidate of batch {pk}", str(each.get("why", ""))) for each in candidates)


def _history(pk: int) -> str:
    return "; ".join(f"{event.at:%H:%M:%S} {event}" for event in BatchEvent.objects.filter(batch=pk))
