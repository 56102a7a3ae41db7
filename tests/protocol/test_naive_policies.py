"""That the machine can fail: three policies that look reasonable, each of which it refutes.

The only place where our own code is replaced: what is tested here is the test.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from django_claude_batches import wire
from django_claude_batches.client import BatchesClient
from django_claude_batches.models import MessageBatch, Outcome, SubmitAttempt
from django_claude_batches.services import reconciliation, settling
from tests.protocol.invariants import Violation
from tests.protocol.machine import Protocol
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
        settling.proven(attempts[0], data["id"])
        return ""

    patch.setattr(reconciliation, "examine", take)


@pytest.mark.parametrize(
    ("policy", "refuted"),
    [
        (blind_retry, "paid twice"),
        (resubmit_if_none_is_listed, "paid twice|a second live attempt"),
        (adopt_by_count, "another's batch"),
    ],
)
def test_the_machine_refutes(
    network: Network, monkeypatch: pytest.MonkeyPatch, policy: Callable[[pytest.MonkeyPatch], None], refuted: str
) -> None:
    class Machine(Protocol):
        pass

    Machine.network = network
    policy(monkeypatch)
    with pytest.raises(Violation, match=refuted):
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=300,
                stateful_step_count=20,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
