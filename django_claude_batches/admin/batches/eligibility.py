"""Which actions a batch allows: each function returns the reason for a refusal, or an empty text.

The reason is a phrase that follows the batch's name, such as "is a draft".
"""

from __future__ import annotations

from collections.abc import Callable

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_claude_batches.models import MessageBatch, RunState, State
from django_claude_batches.models.batch_state import DELETABLE, EDITABLE, FETCHING, RUNNING, UNANSWERED
from django_claude_batches.services import retries
from django_claude_batches.services.ingestion import reingest
from django_claude_batches.services.polling import loss
from django_claude_batches.services.polling.delete import DELETABLE_REMOTELY

# The state as a phrase that follows the batch's name in a sentence.
STANDING = {
    State.DRAFT: gettext_lazy("is a draft"),
    State.QUEUED: gettext_lazy("is already waiting to be sent"),
    State.SUBMITTING: gettext_lazy("is already being sent"),
    State.UNCERTAIN: gettext_lazy("was sent and is not confirmed"),
    State.HELD: gettext_lazy("was not received"),
    State.ABANDONED: gettext_lazy("was abandoned"),
    State.REJECTED: gettext_lazy("was refused by Anthropic"),
    State.IN_PROGRESS: gettext_lazy("is already running at Anthropic"),
    State.CANCELING: gettext_lazy("is already being canceled"),
    State.ENDED: gettext_lazy("has finished, and its results are being fetched"),
    State.INCOMPLETE: gettext_lazy("has finished, and its results are being fetched"),
    State.INGESTED: gettext_lazy("is complete"),
    State.LOST: gettext_lazy("has lost its results"),
}


def standing(batch: MessageBatch) -> str:
    return str(STANDING[State(batch.state)])


def only(states: frozenset[State]) -> Callable[[MessageBatch], str]:
    """Return a function that returns the refusal for batches in any other state."""
    return lambda batch: "" if batch.state in states else standing(batch)


def being_drafted(batch: MessageBatch) -> str:
    """Refuse a draft to which its run still adds requests."""
    return _("is still being drafted by its run") if batch.is_filling else ""


def cannot_submit(batch: MessageBatch) -> str:
    return only(EDITABLE)(batch) or being_drafted(batch) or _held_back(batch)


def must_be_submitted_alone(batch: MessageBatch) -> str:
    return _("may have been billed already: submit it alone") if batch.may_have_been_billed else ""


def _held_back(batch: MessageBatch) -> str:
    """Refuse a batch that a worker would not send now."""
    if batch.is_being_identified:
        return _("is being verified as %(id)s") % {"id": batch.identified_id}
    run = batch.run
    if run is None or not run.is_active:
        return ""
    if run.state == RunState.CANCELING:
        return _("belongs to a run that is being canceled")
    return _("belongs to a run that is paused: resume the run") if run.is_paused else ""


def cannot_delete_here(batch: MessageBatch) -> str:
    return only(DELETABLE)(batch) or being_drafted(batch)


def cannot_cancel(batch: MessageBatch) -> str:
    if batch.state in UNANSWERED | RUNNING and batch.cancel_requested_at is not None:
        return str(STANDING[State.CANCELING])
    return only(UNANSWERED | {State.IN_PROGRESS})(batch)


def cannot_delete_remote(batch: MessageBatch) -> str:
    if batch.remote_deleted_at is not None:
        return _("is already deleted at Anthropic")
    if batch.delete_requested_at is not None:
        return _("is already going to be deleted at Anthropic")
    return only(DELETABLE_REMOTELY)(batch)


def cannot_check(batch: MessageBatch) -> str:
    return "" if batch.is_live else standing(batch)


def cannot_announce(batch: MessageBatch) -> str:
    refusal = only(frozenset({State.INGESTED}))(batch)
    return refusal or (_("has no answers any more: they were purged") if batch.result_purge_note else "")


def cannot_fetch_again(batch: MessageBatch) -> str:
    return only(frozenset({State.INGESTED}))(batch) or reingest.obstacle(batch)


def cannot_retry(batch: MessageBatch) -> str:
    return only(retries.RETRYABLE)(batch) or retries.obstacle(batch)


def cannot_declare_lost(batch: MessageBatch) -> str:
    if batch.state in RUNNING | FETCHING or batch.is_being_identified or batch.may_have_been_billed:
        return loss.obstacle(batch)
    return standing(batch)
