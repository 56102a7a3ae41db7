"""Let the same time pass for the rows and the server, while no process works.

Rows are aged rather than the clock set: what is due, a lease, and how long ago a create call was made all stand in the
rows. So a lease runs out only under a process that is dead, and a batch that lands late has landed when its row says
so: what the app assumes of the server (docs/topics/at-most-once.md) the soak does not break.
"""

from __future__ import annotations

from datetime import timedelta

from django.db.models import F, Model

from django_claude_batches import conf
from django_claude_batches.models import AccountState, MessageBatch, OpenListing, RemoteBatch, SubmitAttempt
from django_claude_batches.testing import EmulatorProcess

MINUTE = timedelta(minutes=1)
STEPS = (MINUTE / 2, 2 * MINUTE, 6 * MINUTE, 11 * MINUTE, 31 * MINUTE, 65 * MINUTE)
WHOLE_QUIET_PERIOD = conf.send_deadline() + conf.create_read_timeout() + conf.submit_quiet_period()

# How late a batch may land, in seconds: what a slow machine takes is not added to what is promised.
LATEST_LANDING = (WHOLE_QUIET_PERIOD - 10 * MINUTE).total_seconds()

# A 404 was seen in passing up to 2 minutes after a create (docs/reference/wire.md).
LATEST_SEEING = 120.0

AGED: dict[type[Model], tuple[str, ...]] = {
    MessageBatch: ("next_action_at", "lease_until", "missed_at"),
    OpenListing: ("begun_at",),
    SubmitAttempt: ("recorded_at", "sent_at", "watch_until", "last_listing_at"),
    RemoteBatch: ("first_seen_at", "asked_at", "missed_at", "last_missed_at", "digest_at"),
    AccountState: ("lease_until", "next_watch_at", "paused_at", "paused_until"),
}


def let_pass(claude: EmulatorProcess, time: timedelta) -> None:
    """Make every row, and the server, older by this time. No process may be working."""
    claude.pass_time(time.total_seconds())
    for model, columns in AGED.items():
        for column in columns:
            rows = model._default_manager.filter(**{f"{column}__isnull": False})
            rows.update(**{column: F(column) - time})
