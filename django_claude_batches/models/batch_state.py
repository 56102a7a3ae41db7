"""The states of a batch, their labels, and named sets of them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class State(models.TextChoices):
    """The state of a batch. The value is stored, the label is shown; `MessageBatch.explanation` has more."""

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
        "The connection broke. The batch may be running and billed, so it is not sent again until that is known. "
        "This can take a day."
    ),
    State.HELD: _("No matching batch appeared at Anthropic. Submit again when ready."),
    State.ABANDONED: _("Abandoned. It may have been billed."),
    State.REJECTED: _('Nothing ran. "{last_error}". Correct it and submit again.'),
    State.IN_PROGRESS: _("Usually under an hour, at most until {expires_at}. Counts appear when it ends."),
    State.CANCELING: _("Requests already running finish and are billed; their results are kept."),
    State.ENDED: _("{stored} of {total} stored."),
    State.INCOMPLETE: _("{stored} of {total} stored; next try {next_action_at}."),
    State.INGESTED: _("{stored} of {total} results are stored."),
    State.LOST: _("Archived or deleted at Anthropic before the results were fetched."),
}

# The explanation of a queued batch with a `last_error`, which says why it is not sent yet.
NOT_SENT_YET = _("Not sent yet: {last_error} The next try is at {next_action_at}. You can still take it back.")

# The explanation of a held batch of which it is not known whether Anthropic received it.
MAY_HAVE_BEEN_BILLED = _(
    "It may have been billed, which can no longer be found out. Submitting it again may pay twice."
)

# Neither at Anthropic nor about to be sent: these batches can be submitted, edited and deleted.
EDITABLE = frozenset({State.DRAFT, State.REJECTED, State.HELD})

# Not sent. Queued batches are about to be sent.
UNSENT = EDITABLE | {State.QUEUED}

# A create call was made or is being made, and its outcome is not known.
UNANSWERED = frozenset({State.SUBMITTING, State.UNCERTAIN})

# Being processed by Anthropic. These batches are polled.
RUNNING = frozenset({State.IN_PROGRESS, State.CANCELING})

# Ended at Anthropic, but not all results are stored.
FETCHING = frozenset({State.ENDED, State.INCOMPLETE})

# All states with an `anthropic_id`, and only those.
REMOTE = RUNNING | FETCHING | {State.INGESTED, State.LOST}

# The state no longer changes automatically. Results may still have to be announced and delivered.
FINAL = frozenset({State.INGESTED, State.LOST, State.ABANDONED})

# States that require `next_action_at`; an ingested batch needs it too, until it is announced.
ALWAYS_DUE = RUNNING | FETCHING | UNANSWERED | {State.QUEUED}

# States in which a batch may be deleted from this database.
DELETABLE = EDITABLE | FINAL

# States in which a person may identify a batch as one that exists at Anthropic.
IDENTIFIABLE = frozenset({State.UNCERTAIN, State.HELD, State.ABANDONED})


def state_labels(states: frozenset[State]) -> str:
    """Return the labels of these states, in the order of a batch's life, for an error message."""
    return ", ".join(str(state.label) for state in State if state in states)


# Matches batches that no person has identified, or whose identification is already verified.
NOT_BEING_IDENTIFIED = ~Q(state__in=IDENTIFIABLE) | Q(identified_id="")
