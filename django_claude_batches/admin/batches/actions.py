"""The actions on batches: texts, permission, eligibility, confirmation, and the service that each calls."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy, ngettext_lazy

from django_claude_batches import services
from django_claude_batches.admin.actions.action import Verb
from django_claude_batches.admin.batches.confirmations import (
    AbandonQuestion,
    DeclareLostQuestion,
    RetryQuestion,
    SubmitQuestion,
    WhichQuestion,
    retry_label,
)
from django_claude_batches.admin.batches.eligibility import (
    cannot_announce,
    cannot_cancel,
    cannot_check,
    cannot_declare_lost,
    cannot_delete_here,
    cannot_delete_remote,
    cannot_fetch_again,
    cannot_retry,
    cannot_submit,
    must_be_submitted_alone,
    only,
)
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.models.batch_state import ALWAYS_DUE, IDENTIFIABLE


def _check(batch: MessageBatch, by: Any) -> None:
    if not batch.record_intent(ALWAYS_DUE | {State.INGESTED}):
        raise batch.forbidden("check", ALWAYS_DUE)
    batch.log_event("check_requested", by=by)


def _delete_here(batch: MessageBatch, by: Any) -> None:
    pk = batch.pk
    batch.delete()
    batch.pk = pk  # Django clears it, and the log entry needs it


SUBMIT = Verb(
    name="submit",
    label=gettext_lazy("Submit to Claude"),
    permission="submit",
    words=gettext_lazy("This is billed once sent."),
    rule=gettext_lazy("Only drafts and refused or held batches can be submitted."),
    done=ngettext_lazy("%d batch is queued and goes out shortly.", "%d batches are queued and go out shortly."),
    asks=SubmitQuestion,
    refusal=cannot_submit,
    alone=must_be_submitted_alone,
    perform=lambda batch, by, **answers: services.submit(batch, by=by, **answers),
)
TAKE_BACK = Verb(
    name="take_back",
    label=gettext_lazy("Take back"),
    permission="cancel",
    words=gettext_lazy("Nothing was sent yet, so nothing is billed. The batches become drafts again."),
    rule=gettext_lazy("Only batches that wait to be sent can be taken back."),
    done=ngettext_lazy("%d batch is a draft again.", "%d batches are drafts again."),
    refusal=only(frozenset({State.QUEUED})),
    perform=lambda batch, by: services.cancel(batch, by=by),
)
CANCEL = Verb(
    name="cancel",
    label=gettext_lazy("Cancel"),
    permission="cancel",
    words=gettext_lazy("Finished requests stay billed and are kept."),
    rule=gettext_lazy("Only batches that are being sent or are running at Anthropic can be canceled."),
    done=ngettext_lazy("%d batch is going to be canceled.", "%d batches are going to be canceled."),
    refusal=cannot_cancel,
    perform=lambda batch, by: services.cancel(batch, by=by),
)
DELETE_REMOTE = Verb(
    name="delete_remote",
    label=gettext_lazy("Delete at Anthropic"),
    permission="delete_remote",
    words=gettext_lazy(
        "The rows here stay. Running batches are canceled and their results fetched first. Cannot be undone."
    ),
    rule=gettext_lazy("Only batches that were sent can be deleted at Anthropic, and only once."),
    done=ngettext_lazy(
        "%d batch is going to be deleted at Anthropic.", "%d batches are going to be deleted at Anthropic."
    ),
    refusal=cannot_delete_remote,
    perform=lambda batch, by: services.delete_remote(batch, by=by),
)
CHECK = Verb(
    name="check",
    label=gettext_lazy("Check now"),
    permission="advance",
    words=gettext_lazy("The next step (send, poll, fetch, or call your receivers) is done now instead of later."),
    rule=gettext_lazy("Only batches that have a next step can be checked."),
    done=ngettext_lazy("%d batch is checked shortly.", "%d batches are checked shortly."),
    refusal=cannot_check,
    perform=_check,
)
ANNOUNCE = Verb(
    name="announce_again",
    label=gettext_lazy("Rerun receivers"),
    permission="advance",
    words=gettext_lazy("Your receivers of results_ingested are called once more. Nothing is sent to Anthropic."),
    rule=gettext_lazy("Only complete batches have results for your receivers."),
    done=ngettext_lazy(
        "The receivers of %d batch run again shortly.", "The receivers of %d batches run again shortly."
    ),
    refusal=cannot_announce,
    perform=lambda batch, by: services.announce_again(batch, by=by),
)
FETCH_AGAIN = Verb(
    name="reingest",
    label=gettext_lazy("Fetch results again"),
    permission="reingest",
    words=gettext_lazy(
        "Free; stored rows are not duplicated. Afterwards your receivers of results_ingested are called again."
    ),
    rule=gettext_lazy("Only complete batches whose results Anthropic still has can be fetched again."),
    done=ngettext_lazy(
        "The results of %d batch are fetched again shortly.", "The results of %d batches are fetched again shortly."
    ),
    refusal=cannot_fetch_again,
    perform=lambda batch, by: services.reingest(batch, by=by),
)
RETRY = Verb(
    name="retry",
    label=gettext_lazy("Retry failed rows"),
    permission="retry",
    words=gettext_lazy("Makes a new draft of each batch; nothing is sent yet."),
    rule=gettext_lazy("Only finished batches whose requests are here can be retried."),
    done=ngettext_lazy("%d new draft; nothing is sent yet:", "%d new drafts; nothing is sent yet:"),
    refusal=cannot_retry,
    row_label=retry_label,
    perform=lambda batch, by, **answers: services.retry(batch, by=by, **answers),
    asks=RetryQuestion,
    makes=True,
)
IDENTIFY = Verb(
    name="identify",
    label=gettext_lazy("Identify batch…"),
    permission="identify",
    words=gettext_lazy(
        "The id is verified first: the results of that batch must have this batch's tag, so verification waits "
        "until it has ended. If the tag is missing, nothing changes, and the batch's page says so."
    ),
    rule=gettext_lazy("Only batches that are not confirmed, not received or abandoned can be identified."),
    done=ngettext_lazy("%d id is verified shortly.", "%d ids are verified shortly."),
    refusal=only(IDENTIFIABLE),
    perform=lambda batch, by, *, id: services.identify(batch, id, by=by),  # noqa: A006 (the API's word)
    asks=WhichQuestion,
)
ABANDON = Verb(
    name="abandon",
    label=gettext_lazy("Abandon"),
    permission="identify",
    words=gettext_lazy("The search stops. The batches may be running and billed, and are not sent again."),
    rule=gettext_lazy("Only batches that were sent and are not confirmed can be abandoned."),
    done=ngettext_lazy("%d batch is abandoned.", "%d batches are abandoned."),
    refusal=only(frozenset({State.UNCERTAIN})),
    perform=lambda batch, by: services.abandon(batch, by=by),
    asks=AbandonQuestion,
)
DECLARE_LOST = Verb(
    name="declare_lost",
    label=gettext_lazy("Declare lost"),
    permission="identify",
    words=gettext_lazy(
        "No more results are fetched, and missing ones count as failed. What ran was billed. Stored results stay."
    ),
    rule=gettext_lazy(
        "Only batches that Anthropic did not find three times over half an hour, and held ones that may have been "
        "billed, can be declared lost."
    ),
    done=ngettext_lazy("%d batch is declared lost.", "%d batches are declared lost."),
    refusal=cannot_declare_lost,
    perform=lambda batch, by: services.declare_lost(batch, by=by),
    asks=DeclareLostQuestion,
)
DELETE_HERE = Verb(
    name="delete_selected",  # replaces Django's, which would first load every request and result
    label=gettext_lazy("Delete the rows here"),
    permission="delete",
    words=gettext_lazy(
        "Their requests, results and timelines are deleted too. Cannot be undone. Nothing changes at Anthropic."
    ),
    rule=gettext_lazy("Only drafts, refused or held batches and finished ones can be deleted here."),
    done=ngettext_lazy("%d batch is deleted here.", "%d batches are deleted here."),
    refusal=cannot_delete_here,
    perform=_delete_here,
    deletes=True,
)
BATCH_VERBS = (
    *(SUBMIT, TAKE_BACK, CANCEL, CHECK, RETRY, FETCH_AGAIN, ANNOUNCE),
    *(DELETE_REMOTE, IDENTIFY, ABANDON, DECLARE_LOST, DELETE_HERE),
)

# The name of the button that leads to the export.
EXPORT = "export"

NEXT_STEPS = {
    State.DRAFT: SUBMIT.name,
    State.REJECTED: SUBMIT.name,
    State.HELD: SUBMIT.name,
    State.INGESTED: EXPORT,
    State.LOST: RETRY.name,
}


def next_step(batch: MessageBatch) -> str:
    """Return the name of the button that is the next step in most cases; empty if there is nothing to do."""
    if batch.state == State.HELD and batch.may_have_been_billed:
        return IDENTIFY.name
    if batch.state == State.INGESTED and not batch.succeeded_count:
        return RETRY.name
    return NEXT_STEPS.get(State(batch.state), "")
