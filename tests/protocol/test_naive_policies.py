"""That the machine can fail: six policies that look reasonable, each refuted by a few of its steps.

The only place where our own code is replaced: what is tested here is the test.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.dispatch import Signal

from django_claude_batches import wire
from django_claude_batches.client import BatchesClient
from django_claude_batches.models import MessageBatch, Outcome, SubmitAttempt
from django_claude_batches.services import accepting, announcing, reconciliation, searching, settling, submission
from django_claude_batches.services.body import DeadlineReader
from tests.protocol.invariants import Violation
from tests.protocol.machine import MINUTE, Protocol
from tests.protocol.network import Network

pytestmark = [pytest.mark.django_db(transaction=True)]


def blind_retry(patch: pytest.MonkeyPatch) -> None:
    """No answer: send it again."""

    def again(batch: MessageBatch, attempt: SubmitAttempt, why: str, **answered: Any) -> bool:
        return settling.not_sent(batch, attempt, error=why, outcome=Outcome.REFUSED, **answered)

    patch.setattr(settling, "uncertain", again)


def resubmit_if_none_is_listed(patch: pytest.MonkeyPatch) -> None:
    """No answer: look once, and send it again if it is not there."""
    patch.setattr(reconciliation, "READ_TIMEOUT", timedelta(days=-1))
    patch.setattr(reconciliation, "LISTINGS", 1)


def adopt_by_count(patch: pytest.MonkeyPatch) -> None:
    """No answer: the batch with as many requests will be it."""

    def take(client: BatchesClient, attempts: list[SubmitAttempt], data: wire.MessageBatch) -> str:
        accepting.proven(attempts[0], data["id"])
        return ""

    patch.setattr(reconciliation, "examine", take)


def one_line_is_enough(patch: pytest.MonkeyPatch) -> None:
    """Its first line is not ours: it is another's."""
    patch.setattr(searching, "PROOF_LINES", 1)


def no_deadline(patch: pytest.MonkeyPatch) -> None:
    """It is written down that it is being sent: send it, however late it has become meanwhile."""
    patch.setattr(submission, "DeadlineReader", lambda file, deadline: DeadlineReader(file, timedelta(days=1)))


def receivers_are_called_once(patch: pytest.MonkeyPatch) -> None:
    """Whoever raised was told, too."""

    def tell(signal: Signal, batch: MessageBatch) -> list[str]:
        signal.send_robust(sender=MessageBatch, batch=batch)
        return []

    patch.setattr(announcing, "tell", tell)


def answer_lost(machine: Protocol) -> None:
    machine.begin("retry", ["answer lost"])
    machine.tick(11 * MINUTE, None, None)


def lands_late(machine: Protocol) -> None:
    machine.begin("retry", ["lands late"])
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


@pytest.mark.parametrize(
    ("policy", "happens", "refuted"),
    [
        (blind_retry, answer_lost, "paid twice"),
        (resubmit_if_none_is_listed, lands_late, "paid twice"),
        (adopt_by_count, stranger_with_the_same_count, "another's batch"),
        (one_line_is_enough, foreign_line_first, "paid twice"),
        (no_deadline, sender_sleeps, "paid twice"),
        (receivers_are_called_once, receivers_break, "nobody heard it"),
    ],
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
