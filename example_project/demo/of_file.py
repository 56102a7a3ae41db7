from __future__ import annotations

import contextlib
from collections.abc import Iterator

from django.db.models import QuerySet
from rich.console import Console

from demo import report
from demo.errand import Progress
from django_claude_batches import services
from django_claude_batches.models import BatchResult, MessageBatch, State
from django_claude_batches.models.batch_state import RUNNING


class OfFile:
    """A file's requests, in one batch."""

    unit = "stored"

    def __init__(self, batch: MessageBatch) -> None:
        self._batch = batch
        self.account = batch.account

    @contextlib.contextmanager
    def shown(self) -> Iterator[MessageBatch]:
        try:
            yield self._batch
        except BaseException:
            self._batch.delete()
            raise

    def begin(self) -> None:
        services.submit(self._batch)

    def leave(self) -> None:
        self._batch.refresh_from_db()
        if self._batch.state == State.QUEUED:
            services.cancel(self._batch)

    def look(self) -> Progress:
        batch = self._batch
        batch.refresh_from_db()
        next_look_at = batch.next_action_at if batch.state in RUNNING else None
        return Progress(batch.get_state_display(), batch.results.count(), batch.request_count, next_look_at)

    def is_over(self) -> bool:
        return not self._batch.is_live or self._batch.state == State.UNCERTAIN

    def problem(self) -> str:
        batch = self._batch
        if report.is_balanced(self.batches()):
            return ""
        return f"Batch {batch} is: {batch.get_state_display()}. {batch.explanation} {batch.last_error}"

    def batches(self) -> QuerySet[MessageBatch]:
        return MessageBatch.objects.filter(pk=self._batch.pk)

    def introduction(self) -> str:
        batch = self._batch
        return f"Batch #{batch.pk}: {batch.request_count:,} requests, {batch.body_bytes:,} bytes"

    def tell(self, console: Console, *, rows: int, seconds: float) -> None:
        batch = self._batch
        report.show_answers(console, batch.results.all(), rows=rows)
        report.show_failures(console, batch.results.all())
        counted = report.outcomes(BatchResult.objects.filter(batch=batch))
        text = f"Batch {batch} ({batch.anthropic_id}): {counted}; {seconds:.0f} s."
        console.print(text, soft_wrap=True, markup=False)
        report.show_totals(console, self.batches())

    def path(self) -> str:
        return f"django_claude_batches/messagebatch/{self._batch.pk}/change/"
