"""The state machine finds mistakes: plausible policies, each refuted by a few steps.

The only tests that replace code of the package, because they test the state machine itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.dispatch import Signal

from django_claude_batches import conf
from django_claude_batches.client import BatchesClient
from django_claude_batches.client.request_body import DeadlineReader
from django_claude_batches.models import MessageBatch, Outcome, RemoteBatch, SubmitAttempt, attempt
from django_claude_batches.services import announcements
from django_claude_batches.services.listings import windows
from django_claude_batches.services.listings.candidates import open_candidates, remember_listed
from django_claude_batches.services.listings.search import Completeness, Listing
from django_claude_batches.services.listings.windows import Window
from django_claude_batches.services.reconciliation import decision, inspection, proof, reconcile
from django_claude_batches.services.reconciliation.proof import Reading
from django_claude_batches.services.submission import acceptance, close_attempt, send
from tests.harness.selections import slow_but
from tests.reliability.protocol.invariants import Violation
from tests.reliability.protocol.machine import MINUTE, Protocol
from tests.reliability.protocol.network import CREATE, LATE, Fault, Network
from tests.reliability.protocol.server import SECONDS_BEHIND, WHOLE

pytestmark = [pytest.mark.django_db(transaction=True)]


def blind_retry(patch: pytest.MonkeyPatch) -> None:
    """Without an answer, send the batch again."""

    def again(batch: MessageBatch, attempt: SubmitAttempt, why: str, **answered: Any) -> bool:
        return close_attempt.record_not_sent(batch, attempt, error=why, outcome=Outcome.REFUSED, **answered)

    patch.setattr(close_attempt, "record_uncertain", again)


def waits_of_now(patch: pytest.MonkeyPatch) -> None:
    """Use the current settings also for attempts that were sent with longer ones."""

    def quiet_after(_attempt: SubmitAttempt) -> timedelta:
        return conf.send_deadline() + conf.create_read_timeout() + conf.submit_quiet_period()

    patch.setattr(reconcile, "quiet_period", quiet_after)


def take_one_listing(patch: pytest.MonkeyPatch) -> None:
    for module in (decision, reconcile, attempt):
        patch.setattr(module, "FULL_LISTINGS", 1)


def resubmit_if_none_is_listed(patch: pytest.MonkeyPatch) -> None:
    """Without an answer, list once, and send the batch again if it is not listed."""
    patch.setattr(reconcile, "quiet_period", lambda attempt: timedelta())
    take_one_listing(patch)


def adopt_by_count(patch: pytest.MonkeyPatch) -> None:
    """Without an answer, adopt a batch with the same number of requests."""

    def take(client: BatchesClient, row: RemoteBatch, *_more: object) -> Reading:
        attempt = SubmitAttempt.objects.filter(batch__request_count=row.requests).last()
        if attempt is not None:
            acceptance.assign_proven(attempt, row.remote_id)
        return Reading(attempt)

    patch.setattr(inspection, "inspect_results", take)


def one_line_is_enough(patch: pytest.MonkeyPatch) -> None:
    """If the first line has no known tag, the batch belongs to another program."""
    patch.setattr(proof, "PROOF_LINES", 1)


def no_deadline(patch: pytest.MonkeyPatch) -> None:
    """Once `sent_at` is set, send the batch, however late it is."""
    patch.setattr(send, "DeadlineReader", lambda file, deadline: DeadlineReader(file, timedelta(days=1)))


def receivers_are_called_once(patch: pytest.MonkeyPatch) -> None:
    """A receiver that raised counts as called."""

    def tell(signal: Signal, batch: MessageBatch) -> list[str]:
        signal.send_robust(sender=MessageBatch, batch=batch)
        return []

    patch.setattr(announcements, "send_signal", tell)


def counts_exclude(patch: pytest.MonkeyPatch) -> None:
    """A batch with another number of requests belongs to another program."""

    def of_the_same_size(alias: str, windows: Iterable[Window]) -> list[RemoteBatch]:
        sizes = {window.attempt.batch.request_count for window in windows if window.attempt.batch is not None}
        return [row for row in open_candidates(alias, windows) if row.requests in sizes]

    patch.setattr(reconcile, "open_candidates", of_the_same_size)


def what_is_not_listed_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A batch that is no longer listed is not a candidate."""

    def keep_only(alias: str, listing: Listing, windows: list[Window]) -> None:
        RemoteBatch.objects.of(alias).exclude(remote_id__in=listing.ids).delete()
        remember_listed(alias, listing, windows)

    patch.setattr(reconcile, "remember_listed", keep_only)
    take_one_listing(patch)


def one_listing_is_enough(patch: pytest.MonkeyPatch) -> None:
    """A listing that was read to its end shows all batches."""
    patch.setattr(reconcile, "completeness", lambda listing, attempt, gone: (Completeness.FULL, ""))
    take_one_listing(patch)


def clocks_agree(patch: pytest.MonkeyPatch) -> None:
    """A batch that is older than the newest one of the baseline was made by another call."""
    patch.setattr(windows, "MARGIN", timedelta())


def answer_lost(machine: Protocol) -> None:
    machine.begin("retry", ["answer lost"])
    machine.tick(11 * MINUTE, None, None)


def lands_late(machine: Protocol) -> None:
    machine.begin("retry", ["lands late"])
    machine.tick(11 * MINUTE, None, None)
    machine.land()


def lands_late_after_a_change(machine: Protocol) -> None:
    """The body arrives 9 minutes after `sent_at`; then the waits are shortened; then it is carried out."""
    machine.begin("retry", [])
    machine.suspend(0, [9 * MINUTE], "nothing", "default", Fault(CREATE, LATE))
    machine.administer("waits")
    machine.tick(24 * MINUTE, None, None)
    machine.tick(11 * MINUTE, None, None)
    machine.land()


def stranger_with_the_same_count(machine: Protocol) -> None:
    machine.begin("retry", ["request lost"])
    machine.decoy(1)
    machine.end_all()
    machine.tick(11 * MINUTE, None, None)


def foreign_line_first(machine: Protocol) -> None:
    machine.begin("retry", ["accepted"])
    machine.send(2, "answer lost", None)
    machine.fetch("a foreign line first", None)
    for _ in range(4):
        machine.tick(31 * MINUTE, None, None)


def sender_sleeps(machine: Protocol) -> None:
    machine.begin("retry", ["accepted"])
    machine.suspend(0, [31 * MINUTE] * 4, "nothing", "default", None)


def receivers_break(machine: Protocol) -> None:
    machine.begin("retry", ["accepted"])
    machine.administer("receivers")
    machine.end_all()
    machine.tick(11 * MINUTE, None, None)
    machine.tick(MINUTE, None, None)


# The server's freedoms, which refute these policies.


def counts_do_not_add_up(machine: Protocol) -> None:
    machine.begin("retry", [], counts="one too many")
    machine.send(1, "answer lost", None)
    for _ in range(6):
        machine.tick(11 * MINUTE, None, None)


def counts_fall_and_do_not_rise(machine: Protocol) -> None:
    machine.begin("retry", [], counts="processing falls, and nothing rises")
    machine.send(2, "answer lost", None)
    for _ in range(6):
        machine.tick(11 * MINUTE, None, None)


def shown_late(machine: Protocol) -> None:
    """Listings show it only after half an hour: the search has seen it running."""
    machine.begin("retry", [], listing="new ones are absent")
    machine.send(1, "answer lost", None)
    machine.tick(11 * MINUTE, None, None)
    machine.tick(11 * MINUTE, None, None)
    machine.list_as(WHOLE)
    machine.tick(11 * MINUTE, None, None)


def shown_and_then_absent_once(machine: Protocol) -> None:
    shown_late(machine)
    machine.tick(16 * MINUTE, None, None)
    machine.list_as("empty")
    machine.tick(11 * MINUTE, None, None)
    machine.tick(11 * MINUTE, None, None)


def shown_and_then_deleted_by_a_stranger(machine: Protocol) -> None:
    shown_late(machine)
    machine.end_all()
    machine.delete_elsewhere(0)
    for _ in range(5):
        machine.tick(16 * MINUTE, None, None)


def an_empty_listing_when_the_quiet_period_is_over(machine: Protocol) -> None:
    """Single GETs answer all the while."""
    machine.begin("retry", [], listing="empty")
    machine.send(1, "answer lost", None)
    machine.tick(31 * MINUTE, None, None)
    machine.tick(31 * MINUTE, None, None)
    machine.tick(MINUTE, None, None)


def made_by_a_node_whose_clock_is_behind(machine: Protocol) -> None:
    machine.begin("retry", [])
    machine.decoy(1)
    machine.answer_from([SECONDS_BEHIND])
    machine.send(1, "answer lost", None)
    for _ in range(6):
        machine.tick(11 * MINUTE, None, None)


@pytest.mark.parametrize(
    ("policy", "happens", "refuted"),
    slow_but(
        1,
        [
            (resubmit_if_none_is_listed, lands_late, "paid twice"),
            (counts_exclude, counts_do_not_add_up, "paid twice"),
            (what_is_not_listed_is_forgotten, shown_and_then_absent_once, "paid twice"),
            (waits_of_now, lands_late_after_a_change, "paid twice"),
            (blind_retry, answer_lost, "paid twice"),
            (adopt_by_count, stranger_with_the_same_count, "another's batch"),
            (one_line_is_enough, foreign_line_first, "paid twice"),
            (no_deadline, sender_sleeps, "paid twice"),
            (receivers_are_called_once, receivers_break, "nobody heard it"),
            (counts_exclude, counts_fall_and_do_not_rise, "paid twice"),
            (what_is_not_listed_is_forgotten, shown_and_then_deleted_by_a_stranger, "paid twice"),
            (one_listing_is_enough, an_empty_listing_when_the_quiet_period_is_over, "paid twice"),
            (clocks_agree, made_by_a_node_whose_clock_is_behind, "paid twice"),
        ],
    ),
)
def test_a_naive_policy_is_refuted_and_ours_is_not(
    network: Network,
    monkeypatch: pytest.MonkeyPatch,
    policy: Callable[[pytest.MonkeyPatch], None],
    happens: Callable[[Protocol], None],
    refuted: str,
) -> None:
    machine = Protocol.on(network)
    happens(machine)
    machine.holds()
    machine.teardown()
    policy(monkeypatch)
    machine = Protocol.on(network)
    try:
        happens(machine)
        with pytest.raises(Violation, match=refuted):
            machine.holds()
    finally:
        machine.world.close()
