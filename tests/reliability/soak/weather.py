"""Draw the server's faults for the next few rounds, and the share of its answers that is bent, by the seed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from django_claude_batches.testing import EmulatorProcess, RandomBends
from tests.reliability.bent_answers.spared import SPARED

from .clock import LATEST_LANDING, LATEST_SEEING

Options = Callable[[Random], dict[str, Any]]

READS = ("retrieve", "list", "results")
CHANGES = ("cancel", "delete")
STATUSES = ("server_error", "unavailable", "gateway_timeout", "timed_out", "conflict")
PAUSING = ("key_refused", "billing", "access_refused", "on_hold", "spend_limit", "spend_cap")
VALUES = ("nul", "lone_surrogate", "four_byte_characters")
ODD_LINES = (
    *("other_order", "no_last_newline", "crlf", "blank_lines", "duplicate_line", "foreign_line", "garbage_line"),
    *("unknown_result_type", "unknown_stop_reason", "unknown_block", "unknown_usage_key"),
    *("nan", "infinity", "long_integer", "deep_nesting", "repeated_key"),
)
OFTEN, SELDOM, RARE, ONCE = 0.3, 0.15, 0.02, 0.004

# Faults at a time.
MANY = 12


def nothing(_random: Random) -> dict[str, Any]:
    return {}


def breaking_off(random: Random) -> dict[str, Any]:
    return {"reset": random.random() < 0.5}


def failing(random: Random) -> dict[str, Any]:
    """A failure that comes before or after what was asked happened; asked not to, the client does not wait for more."""
    return {"happens": random.random() < 0.5, "should_retry": random.choice([False, False, False, None])}


def a_page(random: Random) -> dict[str, Any]:
    """A proxy's page. With 404 or 413, the request was not passed on."""
    status = random.choice([200, 404, 413, 500, 502])
    return {"status": status, "happens": status in {200, 500, 502} and random.random() < 0.5}


def refusing(random: Random) -> dict[str, Any]:
    return {"retry_after": random.choice([None, 90]), "should_retry": False}


Gust = tuple[str, tuple[str, ...], float, Options]

# Left out is what makes a promise of the server's a lie: counts of a listing that do not add up to the requests, a
# refusal (4xx, but 408) of what happened, and a batch that lands later than it is waited for.
GUSTS: list[Gust] = [
    ("lost_answer", ("create",), OFTEN, breaking_off),
    ("cut_answer", ("create",), OFTEN, breaking_off),
    ("never_lands", ("create",), OFTEN, breaking_off),
    ("lands_late", ("create",), OFTEN, lambda random: {"seconds": random.uniform(10, LATEST_LANDING)}),
    ("seen_late", ("create",), OFTEN, lambda random: {"seconds": random.uniform(1, LATEST_SEEING)}),
    ("slow_answer", ("create", *READS), SELDOM, lambda random: {"delay": random.uniform(0.01, 0.3)}),
    ("trickle", ("create", "retrieve"), SELDOM, lambda random: {"piece_bytes": 50, "pause": 0.005}),
    *[(name, ("create",), SELDOM, failing) for name in STATUSES],
    *[(name, READS, SELDOM, lambda random: {"should_retry": False}) for name in STATUSES],
    *[(name, CHANGES, OFTEN, failing) for name in STATUSES if name != "conflict"],
    ("conflict", CHANGES, OFTEN, lambda random: {"should_retry": False}),
    *[(name, ("create", *READS, *CHANGES), SELDOM, refusing) for name in ("rate_limited", "overloaded")],
    *[(name, ("create", "list"), ONCE, nothing) for name in PAUSING],
    ("html", ("create",), SELDOM, a_page),
    ("html", (*READS, *CHANGES), RARE, lambda random: {"status": random.choice([200, 500])}),
    ("redirect", ("create", *READS, *CHANGES), SELDOM, nothing),
    ("not_found", ("retrieve", "results"), OFTEN, nothing),
    ("lost_answer", CHANGES, OFTEN, breaking_off),
    ("never_lands", READS, RARE, breaking_off),
    ("foreign_results_url", ("retrieve", "list"), OFTEN, nothing),
    ("unknown_status", ("retrieve", "list"), OFTEN, nothing),
    ("wrong_counts", ("retrieve",), SELDOM, nothing),
    ("cut_mid_line", ("results",), OFTEN, lambda random: breaking_off(random) | {"clean": random.random() < 0.5}),
    ("cut_at_line_end", ("results",), OFTEN, lambda random: breaking_off(random) | {"clean": random.random() < 0.5}),
    ("empty_results", ("results",), SELDOM, nothing),
    ("missing_line", ("results",), SELDOM, nothing),
    ("huge_line", ("results",), RARE, lambda random: {"size": 1_000_000}),
    *[
        (name, ("results",), SELDOM, lambda random: {"where": random.choice(["text", "value", "key"])})
        for name in VALUES
    ],
    *[(name, ("results",), SELDOM, nothing) for name in ODD_LINES],
]


ALSO_SPARED = (
    # The check at the end would report these as another request's, lost, or unrequested.
    *("results:field=result*", "*:field=created_at", "*:field=archived_at"),
    "*:header=retry-after*",  # too long to wait
)


def change(claude: EmulatorProcess, random: Random) -> None:
    """Replace the faults and bends by new ones."""
    claude.clear_faults()
    claude.bend(RandomBends(share=random.uniform(0, SELDOM), spare=SPARED + ALSO_SPARED))
    for name, on, at_most, options in random.sample(GUSTS, MANY):
        claude.fault(name, on=on, times=None, share=random.uniform(0, at_most), **options(random))
