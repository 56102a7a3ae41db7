"""Which rows of finished batches are to be drafted again."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django import forms
from django.db.models import Count
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_claude_batches.admin.actions.confirmation import Question
from django_claude_batches.models import BatchResult, MessageBatch, State
from django_claude_batches.models.result import early_outcome

OUTCOMES = {
    "errored": gettext_lazy("errored"),
    "expired": gettext_lazy("expired"),
    "canceled": gettext_lazy("canceled"),
    "truncated": gettext_lazy("cut off at max_tokens"),
    "refused": gettext_lazy("refused by the model"),
    "unfinished": gettext_lazy("not finished"),
    "missing": gettext_lazy("without a result"),
}

USUAL = ("errored", "expired", "missing")
"""What is chosen beforehand: what `retry` takes unless told otherwise."""

MOST_ROWS = 100_000
"""Requests of one action, as many as one batch has at most: they are drafted while the browser waits."""


class RetryQuestion(Question):
    outcomes = forms.MultipleChoiceField(
        label=gettext_lazy("Draft again those that are:"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Nothing was done: choose which rows are to be drafted again.")},
    )
    max_tokens = forms.IntegerField(
        label=gettext_lazy("max_tokens for those that were cut off:"),
        required=False,
        min_value=1,
        help_text=gettext_lazy(
            "More than they had. The others keep theirs. How much a model allows, Anthropic says when the batch runs."
        ),
    )
    retries_before = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, rows: list[MessageBatch], data: QueryDict | None = None) -> None:
        super().__init__(rows, data)
        self._counts = counts(rows)
        self._retries = MessageBatch.objects.primary().filter(parent__in=[row.pk for row in rows])
        self.fields["outcomes"].choices = [  # type: ignore[attr-defined]
            (name, f"{label} ({self._counts[name]:,})") for name, label in OUTCOMES.items() if self._counts[name]
        ]
        self.fields["outcomes"].initial = list(USUAL)
        if not any(self._counts.values()):
            self.fields["outcomes"].help_text = _("All of their requests succeeded, so there is nothing to choose.")
        self.fields["retries_before"].initial = self._retries.count()

    def clean(self) -> dict[str, Any]:
        self._refuse_a_second_time()
        chosen = self.cleaned_data.get("outcomes", [])
        if "truncated" in chosen and "max_tokens" not in self.errors and not self.cleaned_data.get("max_tokens"):
            self.add_error("max_tokens", _("Nothing was done: say how many tokens those that were cut off may have."))
        count = sum(self._counts[name] for name in chosen)
        if count > MOST_ROWS:
            text = _("Nothing was done: these are %(count)s requests, and at most %(most)s are drafted at once.")
            raise forms.ValidationError(text % {"count": f"{count:,}", "most": f"{MOST_ROWS:,}"})
        return self.cleaned_data

    def _refuse_a_second_time(self) -> None:
        """Do nothing for a form that is posted twice: it knows how many retries there were when it was shown."""
        retries = self._retries.count()
        if self.cleaned_data.get("retries_before") in {retries, None}:  # None is refused as it is
            return
        answered: Any = self.data
        self.data = shown = answered.copy()
        shown["retries_before"] = str(retries)
        text = _("Nothing was done: they were retried meanwhile, by %(latest)s. Confirm to do it once more.")
        raise forms.ValidationError(text % {"latest": self._retries.order_by("pk").last() or _("one that is deleted")})

    @property
    def answers(self) -> dict[str, Any]:
        chosen = self.cleaned_data["outcomes"]
        return {
            "outcomes": chosen,
            "max_tokens": self.cleaned_data["max_tokens"] if "truncated" in chosen else None,
        }


def counts(batches: list[MessageBatch]) -> Counter[str]:
    """Count the requests with each outcome: by the batches' own counters, and of the others only what indexes serve."""
    results = BatchResult.objects.primary()
    found: Counter[str] = Counter()
    for batch in batches:
        given_up = batch.state == State.ABANDONED
        found["missing"] += batch.request_count if given_up else batch.missing_count
        if batch.state == State.INGESTED:
            found.update({name: getattr(batch, f"{name}_count") for name in ("errored", "expired", "canceled")})
    lost = [batch.pk for batch in batches if batch.state == State.LOST]
    failed = results.filter(batch__in=lost).exclude(result_type="succeeded").order_by()
    found.update(dict(failed.values_list("result_type").annotate(Count("pk"))))
    early = results.ended_early().filter(batch__in=[batch.pk for batch in batches]).order_by()
    for stop_reason, count in early.values_list("stop_reason").annotate(Count("pk")):
        found[early_outcome(stop_reason)] += count
    return found
