"""The states of a batch, in the words that people read, and which of them mean what."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class State(models.TextChoices):
    """Where a batch stands. The value is stored, the label is what people read; `State.explain` says the rest."""

    DRAFT = "draft", _("Draft")
    QUEUED = "queued", _("Waiting to be sent")
    SUBMITTING = "submitting", _("Sending")
    UNCERTAIN = "uncertain", _("Sent, not confirmed")
    HELD = "held", _("Not received")
    ABANDONED = "abandoned", _("Abandoned")
    REJECTED = "rejected", _("Refused by Anthropic")
    IN_PROGRESS = "in_progress", _("Running at Anthropic")
    CANCELING = "canceling", _("Canceling")
    ENDED = "ended", _("Finished, fetching results")
    INCOMPLETE = "incomplete", _("Results missing, fetching again")
    INGESTED = "ingested", _("Complete")
    LOST = "lost", _("Results no longer available")


EXPLANATIONS = {
    State.DRAFT: _("Not sent. Costs nothing until submitted."),
    State.QUEUED: _("Goes out within about 30 seconds. You can still take it back."),
    State.SUBMITTING: _("Being uploaded to Anthropic."),
    State.UNCERTAIN: _(
        "The connection broke. It may be running and billed, so we won't send it again until we know. "
        "This can take a day."
    ),
    State.HELD: _("No matching batch appeared at Anthropic. Submit again when ready."),
    State.ABANDONED: _("Abandoned. It may have been billed."),
    State.REJECTED: _('Nothing ran. "{last_error}". Correct it and submit again.'),
    State.IN_PROGRESS: _("Usually under an hour, at most until {expires_at}. Counts appear when it ends."),
    State.CANCELING: _("Requests already running finish and are billed; their results are kept."),
    State.ENDED: _("{stored} of {total} stored."),
    State.INCOMPLETE: _("{stored} of {total} stored; next try {next_action_at}."),
    State.INGESTED: _("{succeeded} succeeded, {failed} failed, {missing} missing."),
    State.LOST: _("Archived or deleted at Anthropic before we fetched them."),
}

NOT_SENT_YET = _("Not sent yet: {last_error} The next try is at {next_action_at}. You can still take it back.")
"""The explanation of a queued batch that could not be sent, or waits for something."""

MAY_HAVE_BEEN_BILLED = _("It may have been billed, and that cannot be known any more. Submitting it may pay twice.")
"""The explanation of a held batch of which it was never known whether it was received."""

EDITABLE = frozenset({State.DRAFT, State.REJECTED, State.HELD})
"""Nothing of these is at Anthropic, and nobody is about to send them: they can be submitted, edited and deleted."""

UNSENT = EDITABLE | {State.QUEUED}
"""Those that will still be sent, or never."""

SENT = frozenset({State.SUBMITTING, State.UNCERTAIN})
"""A create call was made or is being made, and its answer is not known."""

RUNNING = frozenset({State.IN_PROGRESS, State.CANCELING})
"""Anthropic works on these: they are polled."""

FETCHING = frozenset({State.ENDED, State.INCOMPLETE})
"""Ended at Anthropic, and not all results are rows."""

REMOTE = RUNNING | FETCHING | {State.INGESTED, State.LOST}
"""Those, and only those, that have an `anthropic_id`."""

FINAL = frozenset({State.INGESTED, State.LOST, State.ABANDONED})
"""Nothing happens to these by itself any more."""

ALWAYS_DUE = RUNNING | FETCHING | SENT | {State.QUEUED}
"""Those for which `next_action_at` is required; an ingested batch needs it too until it was announced."""

DELETABLE = EDITABLE | FINAL
"""Those whose rows may be deleted here."""

IDENTIFIABLE = frozenset({State.UNCERTAIN, State.HELD, State.ABANDONED})
"""Those that a batch found at Anthropic may turn out to be."""


def state_labels(states: frozenset[State]) -> str:
    """Give the labels of some states, in the order of their lives, for an error's text."""
    return ", ".join(str(state.label) for state in State if state in states)


NOT_BEING_IDENTIFIED = ~Q(state__in=IDENTIFIABLE) | Q(identified_id="")
"""Nobody says which one at Anthropic it is, which a worker would have to verify first."""
