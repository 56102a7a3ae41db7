"""The project's receivers, which raise at times and record their calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.dispatch import Signal

from django_claude_batches import signals
from django_claude_batches.models import MessageBatch, State

ALL = (
    *(signals.batch_submitted, signals.batch_ended, signals.results_ingested, signals.batch_failed),
    *(signals.submission_uncertain, signals.duplicate_detected),
)


class Receivers:
    """`took` counts, for each batch, how often its results were taken; `refused`, how often the receiver raised."""

    def __init__(self) -> None:
        self.is_broken = False
        self.took: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self.too_early: list[str] = []

    @contextmanager
    def connected(self) -> Iterator[None]:
        for each in ALL:
            each.connect(self.hear)
        try:
            yield
        finally:
            for each in ALL:
                each.disconnect(self.hear)

    def hear(self, sender: type[MessageBatch], batch: MessageBatch, signal: Signal, **_more: Any) -> None:
        is_results = signal is signals.results_ingested
        if is_results and (batch.state != State.INGESTED or batch.count_missing() != batch.missing_count):
            self.too_early.append(f"{batch}, {batch.state}, {batch.count_missing()} missing")
        if self.is_broken:
            self.refused[batch.pk] += is_results
            raise RuntimeError("The project's receiver is broken today.")
        self.took[batch.pk] += is_results
