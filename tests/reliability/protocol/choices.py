"""The values from which the steps are drawn."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from hypothesis import strategies as st

from django_claude_batches import services
from django_claude_batches.models import MessageBatch
from tests.reliability.protocol.network import (
    BASELINE,
    CANCEL,
    CREATE,
    CREATES,
    DELETE,
    LATE,
    LIST,
    READS,
    RESULT_LINES,
    RESULTS,
    RETRIEVE,
    Fault,
)
from tests.reliability.protocol.server import ABSENT, NODES, SAID
from tests.reliability.protocol.world import SECOND

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ROWS = 3

# Of two and a half hours each: a search takes 48 hours at most.
ROUNDS = 24
OUTCOMES = st.sampled_from(["accepted", *[LATE] * 3, *CREATES])
ACCOUNT = st.sampled_from(["default", "default", SECOND])
COUNTS = st.integers(1, 2)
WHICH = st.integers(0, 2 * ROWS)

READING = st.sampled_from([BASELINE, LIST, RETRIEVE, CANCEL, DELETE])
LINES = st.sampled_from(sorted(RESULT_LINES))
FAULTS = st.one_of(
    st.none(),
    st.builds(Fault, st.just(CREATE), st.sampled_from([LATE, *CREATES])),
    st.builds(Fault, READING, st.sampled_from(sorted(READS))),
    st.builds(Fault, st.just(RESULTS), st.sampled_from(sorted(READS))),
    st.builds(Fault, st.just(RESULTS), LINES),
)
CRASHES = st.one_of(st.none(), st.integers(1, 40))
PASSING = st.sampled_from([MINUTE, 11 * MINUTE, 16 * MINUTE, 31 * MINUTE, 65 * MINUTE, 3 * HOUR, 25 * HOUR])
CALLS = st.sampled_from([CREATE, CREATE, BASELINE, LIST, RETRIEVE, RESULTS, CANCEL, DELETE])

# For how long a process is suspended: past the usual lease, past a sender's, past the quiet period.
ABSENCES = st.sampled_from([6 * MINUTE, 31 * MINUTE, 2 * HOUR])

# How long a process is suspended, in parts, after each of which others go on: within SEND_DEADLINE, and past all.
NAPS = st.lists(st.sampled_from([5 * MINUTE, 31 * MINUTE]), min_size=1, max_size=4)

# Before which statement, or, 0, before the body of its create call is read.
SLEEPS = st.one_of(st.just(0), st.integers(1, 40))

SAYINGS = st.sampled_from(sorted(SAID))
LASTING = st.sampled_from([timedelta(seconds=8), HOUR, None])
LISTING = st.sampled_from(sorted(ABSENT))
NODE = st.sampled_from(NODES)

WISHES: dict[str, Callable[[MessageBatch], object]] = {
    "submit": services.submit,
    "declare lost": services.declare_lost,
    "cancel": services.cancel,
    "delete": services.delete_remote,
    "delete, discarding": lambda row: services.delete_remote(row, discard_results=True),
    "abandon": services.abandon,
    "retry": services.retry,
    "announce again": services.announce_again,
    "reingest": services.reingest,
}


OTHER = st.sampled_from(["nothing", "end", "adopt", "key", *WISHES])
