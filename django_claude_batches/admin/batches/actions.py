"""What people can do to a row here: the words, the permission, the rows it is for, and the service it calls."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from django_claude_batches import conf, services
from django_claude_batches.admin.actions.action import STANDING, Verb, being_drafted, only, standing
from django_claude_batches.admin.actions.confirmation import DeclareLostQuestion, GiveUpQuestion, WhichQuestion
from django_claude_batches.admin.batches.retry_confirmation import RetryQuestion
from django_claude_batches.admin.batches.submit_confirmation import SubmitQuestion
from django_claude_batches.models import AccountState, MessageBatch, RunState, State
from django_claude_batches.models.batch_state import ADOPTING, ALWAYS_DUE, DELETABLE, EDITABLE, FETCHING, RUNNING, SENT
from django_claude_batches.services import retries
from django_claude_batches.services.ingestion import reingest
from django_claude_batches.services.polling import loss
from django_claude_batches.services.polling.delete import DELETABLE_REMOTELY


def _cannot_submit(batch: MessageBatch) -> str:
    return only(EDITABLE)(batch) or being_drafted(batch) or _held_back(batch)


def _must_be_submitted_alone(batch: MessageBatch) -> str:
    return _("may have been billed already: submit it alone") if batch.may_have_been_billed else ""


def _held_back(batch: MessageBatch) -> str:
    """Make the refusal of what a worker would not send now."""
    if batch.is_claimed:
        return _("is being verified as %(id)s") % {"id": batch.claimed_id}
    run = batch.run
    if run is None or not run.is_active:
        return ""
    if run.state == RunState.CANCELING:
        return _("is of a run that is being canceled")
    return _("is of a run that is paused: resume that") if run.is_paused else ""


def _cannot_delete_here(batch: MessageBatch) -> str:
    return only(DELETABLE)(batch) or being_drafted(batch)


def _cannot_cancel(batch: MessageBatch) -> str:
    if batch.state in SENT | RUNNING and batch.cancel_requested_at is not None:
        return str(STANDING[State.CANCELING])
    return only(SENT | {State.IN_PROGRESS})(batch)


def _cannot_delete_remote(batch: MessageBatch) -> str:
    if batch.remote_deleted_at is not None:
        return _("is already deleted at Anthropic")
    if batch.delete_requested_at is not None:
        return _("is already going to be deleted at Anthropic")
    return only(DELETABLE_REMOTELY)(batch)


def _cannot_check(batch: MessageBatch) -> str:
    return "" if batch.is_live else standing(batch)


def _cannot_announce(batch: MessageBatch) -> str:
    standing = only(frozenset({State.INGESTED}))(batch)
    return standing or (_("has no answers any more: they were purged") if batch.result_purge_note else "")


def _cannot_fetch_again(batch: MessageBatch) -> str:
    return only(frozenset({State.INGESTED}))(batch) or reingest.obstacle(batch)


def _cannot_retry(batch: MessageBatch) -> str:
    return only(retries.RETRYABLE)(batch) or retries.obstacle(batch)


def _cannot_declare_lost(batch: MessageBatch) -> str:
    if batch.state in RUNNING | FETCHING or batch.is_claimed or batch.may_have_been_billed:
        return loss.obstacle(batch)
    return standing(batch)


def _check(batch: MessageBatch, by: Any) -> None:
    if not batch.wish(ALWAYS_DUE | {State.INGESTED}):
        raise batch.forbidden("check", ALWAYS_DUE)
    batch.note("check_requested", by=by)


def _delete_here(batch: MessageBatch, by: Any) -> None:
    pk = batch.pk
    batch.delete()
    batch.pk = pk  # Django clears it, and the log still needs it


def _cannot_resume(account: AccountState) -> str:
    paused = AccountState.objects.primary().paused().filter(pk=account.pk).exists()
    return "" if paused else _("is not paused")


def _cannot_confirm(account: AccountState) -> str:
    return "" if account.is_elsewhere(conf.installation()) else _("is this installation's")


SUBMIT = Verb(
    name="submit",
    label=gettext_lazy("Submit to Claude"),
    permission="submit",
    words=gettext_lazy("This is billed once sent."),
    rule=gettext_lazy("Only drafts and refused or held batches can be submitted."),
    done=ngettext_lazy("%d batch is queued and goes out shortly.", "%d batches are queued and go out shortly."),
    asks=SubmitQuestion,
    refusal=_cannot_submit,
    alone=_must_be_submitted_alone,
    perform=lambda batch, by, **answers: services.submit(batch, by=by, **answers),
)
TAKE_BACK = Verb(
    name="take_back",
    label=gettext_lazy("Take back"),
    permission="cancel",
    words=gettext_lazy("Nothing was sent yet, so nothing is billed: this makes drafts of them again."),
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
    refusal=_cannot_cancel,
    perform=lambda batch, by: services.cancel(batch, by=by),
)
DELETE_REMOTE = Verb(
    name="delete_remote",
    label=gettext_lazy("Delete at Anthropic"),
    permission="delete_remote",
    words=gettext_lazy(
        "Our rows stay. Cannot be undone. What still runs is canceled, and its results are fetched, before that."
    ),
    rule=gettext_lazy("Only batches that were sent can be deleted at Anthropic, and only once."),
    done=ngettext_lazy(
        "%d batch is going to be deleted at Anthropic.", "%d batches are going to be deleted at Anthropic."
    ),
    refusal=_cannot_delete_remote,
    perform=lambda batch, by: services.delete_remote(batch, by=by),
)
CHECK = Verb(
    name="check",
    label=gettext_lazy("Check now"),
    permission="advance",
    words=gettext_lazy("A worker does at once what it would do later anyway: send, look, fetch, tell the app."),
    rule=gettext_lazy("Only batches to which something still happens by itself can be checked."),
    done=ngettext_lazy("%d batch is looked at shortly.", "%d batches are looked at shortly."),
    refusal=_cannot_check,
    perform=_check,
)
ANNOUNCE = Verb(
    name="announce_again",
    label=gettext_lazy("Send results to the app again"),
    permission="advance",
    words=gettext_lazy("Your receivers of results_ingested are called once more. Nothing is sent to Anthropic."),
    rule=gettext_lazy("Only complete batches have results to send."),
    done=ngettext_lazy("%d batch is sent to the app again.", "%d batches are sent to the app again."),
    refusal=_cannot_announce,
    perform=lambda batch, by: services.announce_again(batch, by=by),
)
FETCH_AGAIN = Verb(
    name="reingest",
    label=gettext_lazy("Fetch results again"),
    permission="reingest",
    words=gettext_lazy(
        "Free; stored rows are not duplicated. When they are there, your receivers of results_ingested are called "
        "again."
    ),
    rule=gettext_lazy("Only complete batches whose results Anthropic still has can be fetched again."),
    done=ngettext_lazy(
        "The results of %d batch are fetched again shortly.", "The results of %d batches are fetched again shortly."
    ),
    refusal=_cannot_fetch_again,
    perform=lambda batch, by: services.reingest(batch, by=by),
)
RETRY = Verb(
    name="retry",
    label=gettext_lazy("Retry failed rows"),
    permission="retry",
    words=gettext_lazy("Makes a new draft of each batch; nothing is sent yet."),
    rule=gettext_lazy("Only finished batches whose requests are here can be retried."),
    done=ngettext_lazy("%d new draft; nothing is sent yet:", "%d new drafts; nothing is sent yet:"),
    refusal=_cannot_retry,
    perform=lambda batch, by, **answers: services.retry(batch, by=by, **answers),
    asks=RetryQuestion,
    makes=True,
)
CLAIM = Verb(
    name="claim",
    label=gettext_lazy("This is it"),
    permission="claim",
    words=gettext_lazy(
        "A worker verifies the id: the results of that batch must bear our tag. While it still runs, that waits. What "
        "does not hold is said on the batch's page, and changes nothing."
    ),
    rule=gettext_lazy("Only batches that are not confirmed, were not received or were given up can turn up."),
    done=ngettext_lazy("%d id is verified shortly.", "%d ids are verified shortly."),
    refusal=only(ADOPTING),
    perform=lambda batch, by, *, id: services.claim(batch, id, by=by),  # noqa: A006 (the API's word)
    asks=WhichQuestion,
)
GIVE_UP = Verb(
    name="give_up",
    label=gettext_lazy("Give up"),
    permission="claim",
    words=gettext_lazy(
        "Nobody waits for them any more. They may be running and billed all the same, and are not sent again."
    ),
    rule=gettext_lazy("Only batches that were sent and are not confirmed can be given up."),
    done=ngettext_lazy("%d batch is given up.", "%d batches are given up."),
    refusal=only(frozenset({State.UNCERTAIN})),
    perform=lambda batch, by: services.give_up(batch, by=by),
    asks=GiveUpQuestion,
)
DECLARE_LOST = Verb(
    name="declare_lost",
    label=gettext_lazy("Declare lost"),
    permission="claim",
    words=gettext_lazy(
        "Nothing is fetched any more, and what is missing counts as failed. What ran was billed all the same. What is "
        "stored stays."
    ),
    rule=gettext_lazy(
        "Only batches that Anthropic did not find three times over half an hour, and held ones that may have been "
        "billed, can be declared lost."
    ),
    done=ngettext_lazy("%d batch is declared lost.", "%d batches are declared lost."),
    refusal=_cannot_declare_lost,
    perform=lambda batch, by: services.declare_lost(batch, by=by),
    asks=DeclareLostQuestion,
)
DELETE_HERE = Verb(
    name="delete_selected",  # takes the place of Django's, which would load every request and result first
    label=gettext_lazy("Delete the rows here"),
    permission="delete",
    words=gettext_lazy("Their requests, results and timelines go too. Cannot be undone. Nothing changes at Anthropic."),
    rule=gettext_lazy("Only drafts, refused or held batches and finished ones can be deleted here."),
    done=ngettext_lazy("%d batch is deleted here.", "%d batches are deleted here."),
    refusal=_cannot_delete_here,
    perform=_delete_here,
    deletes=True,
)
BATCH_VERBS = (
    *(SUBMIT, TAKE_BACK, CANCEL, CHECK, FETCH_AGAIN, RETRY, ANNOUNCE),
    *(DELETE_REMOTE, CLAIM, GIVE_UP, DECLARE_LOST, DELETE_HERE),
)

CONFIRM = Verb(
    name="confirm_installation",
    label=gettext_lazy("Confirm this installation"),
    permission="submit",
    words=gettext_lazy("Not in a copy of a database whose original still runs: both would act on the same batches."),
    rule=gettext_lazy("Only accounts that were another installation's can be confirmed."),
    done=ngettext_lazy("%d account is this installation's now.", "%d accounts are this installation's now."),
    refusal=_cannot_confirm,
    perform=lambda account, by: services.confirm_installation(account.alias),
)

RESUME = Verb(
    name="resume",
    label=gettext_lazy("Resume sending"),
    permission="submit",
    words=gettext_lazy("What waits to be sent goes out, and is billed once sent."),
    rule=gettext_lazy("Only paused accounts can be resumed."),
    done=ngettext_lazy("%d account sends again.", "%d accounts send again."),
    refusal=_cannot_resume,
    perform=lambda account, by: services.resume(account.alias),
)
