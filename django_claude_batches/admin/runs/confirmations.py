"""The confirmation form for retrying rows of runs, which sends requests and costs money."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_claude_batches.admin.actions.confirmation import CountQuestion
from django_claude_batches.admin.base import display
from django_claude_batches.estimates import Estimate
from django_claude_batches.models import DeliveryChunk, JobRun
from django_claude_batches.models.batch.outcomes import LABELS
from django_claude_batches.services import cost_confirmation


class RetryRunQuestion(CountQuestion):
    outcomes = forms.MultipleChoiceField(
        label=gettext_lazy("Retry the rows that are:"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Nothing was done: choose which rows to retry.")},
    )
    field_order = ("outcomes", "requests")

    def __init__(self, rows: list[JobRun], data: QueryDict | None = None) -> None:
        super().__init__(rows, data)
        choices = [(name, f"{LABELS.get(name, name)} ({count:,})") for name, count in self._failed.items()]
        self.fields["outcomes"].choices = choices  # type: ignore[attr-defined]
        self.fields["outcomes"].initial = list(self._failed)

    @cached_property
    def _failed(self) -> Counter[str]:
        """Return how many rows failed and are not retried automatically, by outcome; the most frequent first."""
        chunks = DeliveryChunk.objects.primary().filter(batch__run__in=[run.pk for run in self.rows])
        counts: Counter[str] = Counter()
        for outcomes in chunks.with_failures().values_list("failed_outcomes", flat=True):
            counts.update(outcomes)
        return Counter(dict(counts.most_common()))

    @property
    def count(self) -> int:
        """Return the number of rows with the chosen outcomes, or with any outcome before the form is sent."""
        chosen = self.data.getlist("outcomes") if isinstance(self.data, QueryDict) and self.is_bound else None
        return sum(self._failed[name] for name in self._failed if chosen is None or name in chosen)

    def estimate(self) -> Estimate:
        return cost_confirmation.estimate_retry(self.rows, self.count)

    @property
    def note(self) -> str:
        return _("Estimate for all of them: %(estimate)s.") % {"estimate": display.estimate(self.estimate())}

    @property
    def answers(self) -> dict[str, Any]:
        return {"outcomes": self.cleaned_data["outcomes"]}
