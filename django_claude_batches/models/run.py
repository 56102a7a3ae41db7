from __future__ import annotations

from typing import Any, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_claude_batches.db.dispatch import DispatchableQuerySet
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models.fields import IdentifierField, IdentifierSlugField, StorableTextField
from django_claude_batches.models.work_item import WorkItem


class RunState(models.TextChoices):
    """The state of a run."""

    DRAFTING = "drafting", _("Being drafted")
    RUNNING = "running", _("Running")
    CANCELING = "canceling", _("Canceling")
    FINISHED = "finished", _("Finished")
    CANCELED = "canceled", _("Canceled")


# States of a run that is not over.
ACTIVE = (RunState.DRAFTING, RunState.RUNNING, RunState.CANCELING)

# States in which rows are drafted, sent and retried.
WORKING = (RunState.DRAFTING, RunState.RUNNING)


class JobRunQuerySet(DispatchableQuerySet["JobRun"]):
    def active(self) -> Self:
        return self.filter(state__in=ACTIVE)

    def moving(self) -> Self:
        """Match runs that are active and not paused."""
        return self.active().filter(paused_at__isnull=True)

    def due(self) -> Self:
        """Match active, unpaused runs that are due."""
        return super().due().moving()

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the runs, but not their batches. Raise InvalidTransition, and delete none, if any run is not over."""
        for run in self.active()[:1]:
            raise run.forbidden("delete", "it is not over: cancel it first.")
        return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]


class JobRun(WorkItem):
    """One run of a job: its rows become requests, in as many batches as needed, and the job gets each result."""

    job = IdentifierSlugField(_("job"), max_length=100)
    label = models.CharField(_("label"), max_length=200, blank=True)
    account = IdentifierField(_("account"), max_length=64, default="default")
    state = models.CharField(_("state"), max_length=20, choices=RunState.choices, default=RunState.DRAFTING)
    # Null as soon as another run may start: on every database, a unique column may have any number of nulls.
    exclusive = IdentifierField(max_length=100, null=True, blank=True, unique=True, editable=False)
    started_at = models.DateTimeField(_("started at"), default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("started by"),
    )
    created_by_name = models.CharField(_("started by"), max_length=150, blank=True)
    cursor = models.TextField(
        blank=True, editable=False, help_text=_("The primary key of the last row that was drafted or left out.")
    )
    row_count = models.PositiveBigIntegerField(_("rows"), default=0)
    # For this run; the class of a job can set it for all of its runs.
    skip_unaskable = models.BooleanField(_("leave out rows that cannot be sent"), default=False)
    left_out_count = models.PositiveBigIntegerField(_("rows left out"), default=0)
    left_out_rows = models.JSONField(_("first rows left out"), default=list, blank=True)
    drafted_at = models.DateTimeField(_("drafted at"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    paused_at = models.DateTimeField(_("paused at"), null=True, blank=True)
    pause_reason = StorableTextField(_("why"), blank=True)

    objects = JobRunQuerySet.as_manager()

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        default_permissions = ("view", "delete")
        permissions = [
            ("start_jobrun", "Can start jobs"),
            ("pause_jobrun", "Can pause and resume runs"),
            ("cancel_jobrun", "Can cancel runs"),
            ("retry_jobrun", "Can retry failed rows of runs"),
            ("redeliver_jobrun", "Can redeliver results to jobs"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=RunState.values), name="dcb_run_state"),
            models.CheckConstraint(
                condition=Q(next_action_at__isnull=False)
                | Q(paused_at__isnull=False)
                | ~Q(state__in=[str(state) for state in ACTIVE]),
                name="dcb_run_due",
            ),
            models.CheckConstraint(
                condition=Q(exclusive__isnull=True) | Q(state__in=[str(state) for state in ACTIVE]),
                name="dcb_run_exclusive",
            ),
        ]
        indexes = [models.Index(fields=["job", "started_at"], name="dcb_run_job")]

    def __str__(self) -> str:
        return f'#{self.pk} "{self.label}" of {self.job}' if self.label else f"#{self.pk} of {self.job}"

    @property
    def is_active(self) -> bool:
        """Return whether the run is not over."""
        return self.state in ACTIVE

    @property
    def is_paused(self) -> bool:
        return self.paused_at is not None

    def forbidden(self, verb: str, why: str) -> InvalidTransition:
        """Return the error that names the run's state, and why the verb is not allowed."""
        paused = ", paused" if self.is_paused else ""
        return InvalidTransition(f"Cannot {verb} run {self}, which is {RunState(self.state).label!s}{paused}: {why}")

    def reschedule_condition(self) -> Q:
        return Q(state__in=ACTIVE)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete the run, but not its batches. Raise InvalidTransition if the run is not over."""
        rows = JobRun.objects.primary()
        with transaction.atomic(using=rows.db):
            if not self.change(~Q(state__in=ACTIVE), job=self.job):  # locks the row
                raise self.forbidden("delete", "it is not over: cancel it first.")
            return super().delete(using=rows.db)

    def pause(self, why: str, *, where: Q | None = None, token: str = "") -> bool:
        """Stop drafting, sending and delivering until a person resumes the run. Return whether the run was paused."""
        unpaused = Q(state__in=ACTIVE, paused_at__isnull=True)
        return self.change(where or Q(), unpaused, token=token, paused_at=DatabaseNow(), pause_reason=why)
