"""The protocol's invariants hold for any order of events: see the package's docstring.

`PROTOCOL_EXAMPLES=2000 python -m pytest -n0 -m slow tests/reliability/protocol` runs more examples, new ones each time.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from django_claude_batches.models import Outcome, State
from tests.reliability.protocol.choices import MINUTE
from tests.reliability.protocol.machine import Protocol
from tests.reliability.protocol.network import Network
from tests.reliability.protocol.server import ABSENT, NODES, WHOLE
from tests.reliability.protocol.world import is_strangers

pytestmark = [pytest.mark.django_db(transaction=True)]

FEW, SOME, MANY = 2, 20, 100
EXAMPLES = int(os.environ.get("PROTOCOL_EXAMPLES", "0"))


@pytest.mark.timeout(300 + EXAMPLES * 5)
@pytest.mark.parametrize("examples", [FEW, pytest.param(SOME, marks=pytest.mark.slow)])
def test_nothing_is_paid_twice_or_lost_or_stuck(network: Network, examples: int) -> None:
    machines = Protocol.kind_on(network)
    run_state_machine_as_test(
        machines,
        settings=settings(
            max_examples=EXAMPLES or examples,
            stateful_step_count=15,
            derandomize=not EXAMPLES,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    if EXAMPLES:
        print(f"{EXAMPLES} examples reached {dict(machines.reached)}")
    # Check that the machine reaches its events. Few examples may not reach the rarer ones, since tags are random:
    # tests/services/reconciliation/test_reconcile.py reaches them by scripted steps.
    rarer = {"proven", "not_received", "held"} if EXAMPLES >= MANY else set()
    common = {"accepted", "uncertain", "ingested"} if examples >= SOME else {"accepted"}
    assert common | rarer <= set(machines.reached)


@pytest.mark.parametrize(
    ("listing", "minutes"),
    [
        ("empty", 20),
        pytest.param(WHOLE, 20, marks=pytest.mark.slow),
        *(pytest.param(listing, 10, marks=pytest.mark.slow) for listing in sorted(ABSENT)),
        pytest.param(WHOLE, 1, marks=pytest.mark.slow),
    ],
)
def test_a_create_that_was_lost_is_sent_again_once(network: Network, listing: str, minutes: int) -> None:
    """Whatever the listings lack, the counts say and the clocks show, and however many batches strangers make."""
    machine = Protocol.on(network)
    machine.begin("retry", [], counts="one too many", nodes=NODES[-1])
    try:
        machine.decoy(1)
        machine.send(1, "request lost", None)
        machine.list_as(listing)
        for _ in range(300 // minutes):
            machine.decoy(1)
            machine.tick(minutes * MINUTE, None, None, ends=True)
            machine.holds()
        [row] = machine.world.rows
        assert sorted(machine.network.creates.values()) == [1, 1]
        [made] = [batch for batch in machine.world.remote if not is_strangers(batch)]
        assert made.id == row.anthropic_id
    finally:
        machine.teardown()


@pytest.mark.slow
def test_what_a_stranger_deleted_is_held_and_sent_again_only_by_a_person(network: Network) -> None:
    machine = Protocol.on(network)
    machine.begin("retry", ["answer lost"])
    try:
        machine.tick(11 * MINUTE, None, None)
        machine.end_all()
        machine.delete_elsewhere(0)
        for _ in range(8):
            machine.tick(11 * MINUTE, None, None)
        [row] = machine.world.rows
        assert (row.state, row.last_attempt.outcome) == (State.HELD, Outcome.UNDECIDED)
        machine.record_intent(0, "submit")
        machine.tick(11 * MINUTE, None, None)
        machine.pass_a_month()
        machine.tick(11 * MINUTE, None, None)
        assert sorted(machine.network.creates.values()) == [1]
        machine.pay_twice(0)
        machine.tick(11 * MINUTE, None, None)
        assert sorted(machine.network.creates.values()) == [1, 1]
        machine.holds()
    finally:
        machine.teardown()
