from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from rich.console import Console

from demo import report
from demo.errand import Progress
from django_claude_batches import services
from django_claude_batches.jobs import BatchJob
from django_claude_batches.models import BatchResult, FailedDelivery, JobRun, MessageBatch, RunState, RunTotals, State
from django_claude_batches.models.batch_state import FINAL, RUNNING

LABEL = "demo"


class OfJob:
    """A job: its rows become batches, and each answer goes to its row."""

    unit = "delivered"

    def __init__(self, job: type[BatchJob]) -> None:
        self._job = job
        self._run: JobRun
        self._totals: RunTotals
        self.account = job.account
        self._rows = job().get_queryset().count()

    @contextlib.contextmanager
    def shown(self) -> Iterator[MessageBatch]:
        """A draft of its own: a batch of the run would be sent, by the next worker that comes by."""
        job = self._job()
        rows = job.get_queryset().order_by("pk")
        asked = ({"custom_id": str(row.pk), "params": job.make_params(row)} for row in rows)
        draft = MessageBatch.objects.create_draft(asked, label="Shown before a run", account=job.account)
        try:
            yield draft
        finally:
            draft.delete()

    def begin(self) -> None:
        # Not `self._job.start()`, which also wakes a worker, in the queue of workers that are not the demo's.
        self._run = services.start_job(self._job.name, label=LABEL)

    def leave(self) -> None:
        for run in JobRun.objects.active().filter(job=self._job.name):
            services.cancel_run(run)

    def look(self) -> Progress:
        self._run.refresh_from_db()
        self._totals = RunTotals.of(self._run)
        moving = self.batches().exclude(state__in=FINAL).order_by("pk").first()
        if self._run.state != RunState.RUNNING or moving is None or moving.state == State.DRAFT:
            return Progress(self._run.get_state_display(), self._totals.delivered, self._rows)
        next_look_at = moving.next_action_at if moving.state in RUNNING else None
        return Progress(moving.get_state_display(), self._totals.delivered, self._rows, next_look_at)

    def is_over(self) -> bool:
        stuck = self.batches().filter(state__in=[State.UNCERTAIN, State.HELD, State.REJECTED])
        return not self._run.is_active or self._run.is_paused or stuck.exists()

    def problem(self) -> str:
        run, totals = self._run, self._totals
        if run.is_paused:
            return f"Run {run} was paused: {run.pause_reason}"
        if run.state != RunState.FINISHED or run.last_error or not report.is_balanced(self.batches()):
            stuck = "".join(f" Batch {batch}: {batch.explanation} {batch.last_error}" for batch in self._open())
            return f"Run {run} is: {run.get_state_display()}. {run.last_error}{stuck}"
        if failed := self._failed_deliveries().first():
            return f"Run {run}: a handler raised for {totals.failed_deliveries:,} rows. The first:\n{failed.traceback}"
        if totals.delivered != totals.rows:
            return f"Run {run}: {totals.delivered:,} of {totals.rows:,} rows have their answer."
        return ""

    def batches(self) -> Any:
        return MessageBatch.objects.filter(run=self._run)

    def introduction(self) -> str:
        return f"Run {self._run}: {self._rows:,} rows"

    def tell(self, console: Console, *, rows: int, seconds: float) -> None:
        totals = self._totals
        report.show_tags(console, self._results(), rows=rows)
        report.show_failures(console, self._results())
        counted = f"{totals.rows:,} rows, {totals.delivered:,} answers delivered, {totals.failed:,} failed"
        console.print(f"Run {self._run}: {counted}; {seconds:.0f} s.", soft_wrap=True, markup=False)
        report.show_totals(console, self.batches())

    def path(self) -> str:
        return f"django_claude_batches/jobrun/{self._run.pk}/change/"

    def _open(self) -> QuerySet[MessageBatch]:
        return self.batches().exclude(state__in=FINAL)

    def _results(self) -> Any:
        return BatchResult.objects.filter(batch__run=self._run)

    def _failed_deliveries(self) -> Any:
        return FailedDelivery.objects.filter(batch__run=self._run).order_by("pk")
