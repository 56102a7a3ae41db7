"""Check the invariants after every step, by the rows and by the server's ledger."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta

from django_claude_batches import conf
from django_claude_batches.models import BatchResult, MessageBatch, Outcome, State, SubmitAttempt
from django_claude_batches.models.batch_state import ALWAYS_DUE
from tests.reliability.protocol.network import FOREIGN_ID, tag_of
from tests.reliability.protocol.server import COUNTS
from tests.reliability.protocol.world import World

Stored = dict[tuple[int, str], tuple[str, str, str]]


class Violation(AssertionError):
    """An invariant does not hold."""


def demand(holds: bool, what: str, *about: object) -> None:
    if not holds:
        raise Violation(f"{what}: {', '.join(map(str, about))}")


def check(world: World, stored: Stored) -> Stored:
    """Raise Violation for the first invariant that does not hold; return the stored results, for the next check."""
    at_most_one_is_paid(world)
    nobody_elses(world)
    whatever_must_be_due_is_due(world)
    now_stored = nothing_stored_is_lost(stored)
    the_ledger_adds_up(world)
    what_is_announced_was_heard(world)
    return now_stored


def at_most_one_is_paid(world: World) -> None:
    made = Counter(tag_of(batch.custom_ids[0]) for batch in world.remote)
    of_row: Counter[int | None] = Counter()
    for attempt in SubmitAttempt.objects.all():
        calls = world.network.creates[attempt.tag]
        demand(made[attempt.tag] <= 1, "two batches of one attempt", attempt.tag)
        demand(calls <= 1, "a create call was made twice", attempt.tag)
        demand(calls == 0 or attempt.sent_at is not None, "sent without being written down", attempt.tag)
        of_row[attempt.batch_id] += made[attempt.tag]
    for batch_id, count in of_row.items():
        demand(batch_id is None or count <= 1 + world.allowed[batch_id], "paid twice for one row", batch_id, count)
    waiting = defaultdict(list)
    for attempt in SubmitAttempt.objects.may_have_created():
        waiting[attempt.batch_id].append(attempt.number)
    for batch_id, numbers in waiting.items():
        demand(batch_id is None or len(numbers) == 1, "a second live attempt", batch_id, numbers)


def nobody_elses(world: World) -> None:
    remote = {batch.id: batch for batch in world.remote}
    for attempt in SubmitAttempt.objects.filter(remote_id__isnull=False):
        bears = tag_of(remote[str(attempt.remote_id)].custom_ids[0])
        demand(bears == attempt.tag, "another's batch on an attempt", attempt, attempt.remote_id)
    for row in world.rows:
        tags = set(row.attempts.values_list("tag", flat=True))
        if row.anthropic_id and tags:
            bears = tag_of(remote[row.anthropic_id].custom_ids[0])
            demand(bears in tags, "another's batch on a row", row, row.anthropic_id)


def whatever_must_be_due_is_due(world: World) -> None:
    for row in world.rows:
        live = row.state in ALWAYS_DUE or (row.state == State.INGESTED and row.announced_at is None)
        demand(not live or row.next_action_at is not None, "due, and without a time", row, row.state)
        latest = world.clock.now + timedelta(hours=27)
        demand(row.next_action_at is None or row.next_action_at < latest, "put off too long", row, row.next_action_at)
        wished = row.cancel_requested_at or row.delete_requested_at
        demand(not (wished and row.state == State.QUEUED), "queued, and not wanted", row)


def nothing_stored_is_lost(before: Stored) -> Stored:
    now = {
        (result.batch_id, result.custom_id): (result.result_type, result.text, result.error_message)
        for result in BatchResult.objects.all()
    }
    kept = set(MessageBatch.objects.values_list("pk", flat=True))
    for key, value in before.items():
        # A row that only adopted what another row submitted is taken over, and its results are fetched again there.
        if key[0] in kept:
            demand(now.get(key) == value, "a stored result is lost or changed", key, value, now.get(key))
    return now


def the_ledger_adds_up(world: World) -> None:
    remote = {batch.id: batch for batch in world.remote}
    for row in world.rows:
        if COUNTS in world.server.freedoms and not row.requests.exists():
            continue  # of a batch that was made elsewhere only the counts say how many requests it has
        # A batch that was made elsewhere has no requests here: a foreign line among its own cannot be told from them.
        results = row.results.exclude(custom_id=FOREIGN_ID)
        count = results.count()
        demand(count <= row.request_count, "more results than requests", row, count)
        if row.state != State.INGESTED or row.missing_count:
            continue
        demand(count == row.request_count, "complete without all results", row, count)
        counts = remote[str(row.anthropic_id)].request_counts
        types = Counter(results.values_list("result_type", flat=True))
        demand(types == Counter({name: n for name, n in counts.items() if n}), "other results than Anthropic's", row)
        if row.requests.exists():
            demand(not row.requests.missing().exists(), "a request without its result", row)
            demand(not row.results.filter(custom_id=FOREIGN_ID).exists(), "a foreign line became a result", row)


def what_is_announced_was_heard(world: World) -> None:
    receivers = world.receivers
    demand(not receivers.too_early, "announced, and not complete", *receivers.too_early)
    for row in world.rows:
        if row.announced_at is None or receivers.took[row.pk]:
            continue
        tries = receivers.refused[row.pk]
        demand(tries >= conf.announce_attempts(), "announced, and nobody heard it", row, tries)
        demand(row.events.filter(what="announcing_failed").exists(), "refused, and not said", row)


def at_rest(world: World, row: MessageBatch) -> bool:
    """Whether a row is final, or requires a person."""
    if row.anthropic_id in world.deleted_elsewhere and not row.workspace_id:
        return True  # adopted: which Workspace's listing would prove that it is gone is not known
    return not row.is_live


def nothing_waits(world: World) -> None:
    for row in world.rows:
        demand(at_rest(world, row), "stuck", row, row.state, row.last_error, row.next_action_at)
    for attempt in SubmitAttempt.objects.filter(batch__state=State.INGESTED, batch__attempts__isnull=False):
        demand(attempt.outcome != Outcome.OPEN or attempt.sent_at is None, "an attempt stays open", attempt.tag)
