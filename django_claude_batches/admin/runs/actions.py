"""The actions on runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from django_claude_batches import services
from django_claude_batches.admin.actions.action import Verb
from django_claude_batches.admin.runs.confirmations import RetryRunQuestion
from django_claude_batches.models import RunState
from django_claude_batches.models.run import ACTIVE, WORKING
from django_claude_batches.models.run_attention import with_issues

# The state as a phrase that follows the run's name in a sentence.
STANDING = {
    RunState.DRAFTING: gettext_lazy("is still being drafted"),
    RunState.RUNNING: gettext_lazy("is running"),
    RunState.CANCELING: gettext_lazy("is already being canceled"),
    RunState.FINISHED: gettext_lazy("is finished"),
    RunState.CANCELED: gettext_lazy("was canceled"),
}

RETRYABLE = (RunState.RUNNING, RunState.FINISHED)


def _only(states: tuple[RunState, ...]) -> Callable[[Any], str]:
    """Return a function that returns the refusal for runs in other states."""
    return lambda run: "" if run.state in states else str(STANDING[RunState(run.state)])


def _cannot_pause(run: Any) -> str:
    return _only(ACTIVE)(run) or (_("is paused already") if run.is_paused else "")


def _cannot_resume(run: Any) -> str:
    if run.is_stuck:
        return ""
    return _only(ACTIVE)(run) or ("" if run.is_paused else _("is not paused"))


def _cannot_resume_without(run: Any) -> str:
    return _only((RunState.DRAFTING,))(run) or ("" if run.is_paused else _("is not paused"))


def _cannot_retry(run: Any) -> str:
    return _only(RETRYABLE)(run) or ("" if run.has_failed else _("has no failed row"))


def _cannot_deliver(run: Any) -> str:
    return "" if run.has_failed_deliveries else _("has no failed delivery")


PAUSE = Verb(
    name="pause",
    label=gettext_lazy("Pause"),
    permission="pause",
    words=gettext_lazy("Drafting, sending and delivering stop. Batches that run at Anthropic continue and are billed."),
    rule=gettext_lazy("Only runs that are not over and not paused can be paused."),
    done=ngettext_lazy("%d run is paused.", "%d runs are paused."),
    refusal=_cannot_pause,
    perform=lambda run, by: services.pause_run(run, by=by),
)
RESUME = Verb(
    name="resume",
    label=gettext_lazy("Resume"),
    permission="pause",
    words=gettext_lazy("The run continues where it stopped: it drafts and sends rows, which are billed once sent."),
    rule=gettext_lazy("Only runs that are paused, or whose delivery is stuck, can be resumed."),
    done=ngettext_lazy("%d run is resumed.", "%d runs are resumed."),
    refusal=_cannot_resume,
    knowing=with_issues,
    perform=lambda run, by: services.resume_run(run),
)
RESUME_WITHOUT = Verb(
    name="resume_without",
    label=gettext_lazy("Resume without rows that cannot be asked"),
    permission="pause",
    words=gettext_lazy(
        "The run continues where it stopped: it drafts and sends rows, which are billed once sent. Rows that cannot "
        "be asked are left out and counted from now on; they cost nothing, and the run's page names the first of them."
    ),
    rule=gettext_lazy("Only runs that are paused while they are drafted can leave rows out."),
    done=ngettext_lazy("%d run continues without such rows.", "%d runs continue without such rows."),
    refusal=_cannot_resume_without,
    perform=lambda run, by: services.resume_run(run, skip_unaskable=True),
)
CANCEL = Verb(
    name="cancel",
    label=gettext_lazy("Cancel"),
    permission="cancel",
    words=gettext_lazy(
        "Nothing more is sent, and batches that run at Anthropic are canceled. Requests that finish before that are "
        "billed, and their results are kept and delivered to the job. Cannot be undone."
    ),
    rule=gettext_lazy("Only runs that are drafted or running can be canceled."),
    done=ngettext_lazy("%d run is going to be canceled.", "%d runs are going to be canceled."),
    refusal=_only(WORKING),
    perform=lambda run, by: services.cancel_run(run, by=by),
)
RETRY = Verb(
    name="retry",
    label=gettext_lazy("Retry failed rows"),
    permission="retry",
    words=gettext_lazy("The failed rows are sent again automatically, and billed once sent."),
    rule=gettext_lazy("Only runs that are drafted, were not canceled and have rows that failed can be retried."),
    done=ngettext_lazy("The failed rows of %d run are retried.", "The failed rows of %d runs are retried."),
    refusal=_cannot_retry,
    row_label=lambda run: _("Retry failed rows (%(n)s)") % {"n": f"{run.failed_row_count:,}"},
    knowing=with_issues,
    perform=lambda run, by, *, outcomes: services.retry_run(run, outcomes=outcomes),
    asks=RetryRunQuestion,
)
REDELIVER_FAILED = Verb(
    name="redeliver_failed",
    label=gettext_lazy("Redeliver"),
    permission="redeliver",
    words=gettext_lazy(
        "Calls the handlers again for rows that raised an error in the job's code. Fix the code first. Nothing "
        "is sent to Anthropic."
    ),
    rule=gettext_lazy("Only runs with rows that raised an error in the job's code can be redelivered."),
    done=ngettext_lazy(
        "The failed deliveries of %d run are redelivered shortly.",
        "The failed deliveries of %d runs are redelivered shortly.",
    ),
    refusal=_cannot_deliver,
    row_label=lambda run: _("Redeliver (%(n)s)") % {"n": f"{run.failed_delivery_count:,}"},
    knowing=with_issues,
    perform=lambda run, by: services.redeliver_failed(run),
)
RUN_VERBS = (PAUSE, RESUME, RESUME_WITHOUT, CANCEL, RETRY, REDELIVER_FAILED)


def next_step(run: Any) -> str:
    """Return the name of the action that is the next step in most cases; empty if the run needs none."""
    if run.is_stuck or (run.is_active and run.is_paused):
        return RESUME.name
    if run.is_active:
        return ""
    return REDELIVER_FAILED.name if run.has_failed_deliveries else RETRY.name
