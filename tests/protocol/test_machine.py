"""The protocol holds, whatever happens in whatever order: see the package's docstring.

`PROTOCOL_EXAMPLES=2000 python -m pytest -n0 -m slow tests/protocol` looks longer, and each time elsewhere.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.protocol.machine import Protocol
from tests.protocol.network import Network

pytestmark = [pytest.mark.django_db(transaction=True)]

FEW, SOME, MANY = 4, 20, 100
EXAMPLES = int(os.environ.get("PROTOCOL_EXAMPLES", "0"))


@pytest.mark.timeout(120 + EXAMPLES * 5)
@pytest.mark.parametrize("examples", [FEW, pytest.param(SOME, marks=pytest.mark.slow)])
def test_nothing_is_paid_twice_or_lost_or_stuck(network: Network, examples: int) -> None:
    machines = Protocol.kind_on(network)
    run_state_machine_as_test(
        machines,
        settings=settings(
            max_examples=EXAMPLES or examples,
            stateful_step_count=15,
            deadline=None,
            derandomize=not EXAMPLES,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    # A machine that goes nowhere finds nothing. Few examples need not reach the rarer ways, since tags are random:
    # tests/services/test_reconciliation.py goes there by script.
    rarer = {"proven", "not_received"} if EXAMPLES >= MANY else set()
    common = {"accepted", "uncertain", "ingested"} if examples >= SOME else {"accepted"}
    assert common | rarer <= set(machines.reached)
