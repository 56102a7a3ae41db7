"""The confirmation forms of actions on batches: submit, retry, abandon, declare lost, and identify at Anthropic."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django import forms
from django.db.models import Count
from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_claude_batches.admin.actions.confirmation import CountQuestion, Question
from django_claude_batches.admin.batches.unconfirmed import candidates
from django_claude_batches.estimates import Estimate
from django_claude_batches.models import BatchResult, MessageBatch, State
from django_claude_batches.models.batch.outcomes import LABELS, outcome_counts
from django_claude_batches.models.result import early_outcome
from django_claude_batches.services import cost_confirmation, retries
from django_claude_batches.wire import BATCH_ID_PATTERN

# Batches for which *Declare lost* shows a note.
MAX_NAMED = 20

# The labels of the outcomes that can be retried.
RETRYABLE_OUTCOMES = {name: label for name, label in LABELS.items() if name in retries.RETRYABLE_OUTCOMES}

# Selected initially: the defaults of `services.retry`.
RETRIED_BY_DEFAULT = ("errored", "expired", "missing")

# Requests that one action may draft, as many as one batch may have: they are drafted while the browser waits.
MAX_RETRIED = 100_000


class WordQuestion(Question):
    """Ask for a word to be typed."""

    WORD: Promise
    LABEL = gettext_lazy("Type “%(word)s” to confirm:")

    word = forms.CharField(
        required=False, max_length=50, widget=forms.TextInput({"autocomplete": "off", "class": "vTextField"})
    )

    def __init__(self, rows: list[Any], data: QueryDict | None = None) -> None:
        super().__init__(rows, data)
        self.fields["word"].label = self.LABEL % {"word": self.WORD}

    def clean_word(self) -> str:
        typed = str(self.cleaned_data["word"])
        if typed.strip().lower() != str(self.WORD):
            raise forms.ValidationError(_("Nothing was done: type “%(word)s” to confirm.") % {"word": self.WORD})
        return typed


class SubmitQuestion(WordQuestion, CountQuestion):
    """Confirm the submission of drafts. For a batch that may have been billed before, ask for a word to be typed."""

    WORD = gettext_lazy("send again")
    LABEL = gettext_lazy(
        "This batch may have been billed before, and would then be paid for twice. Type “%(word)s” to confirm:"
    )

    def __init__(self, rows: list[Any], data: QueryDict | None = None) -> None:
        super().__init__(rows, data)
        self._is_second = len(rows) == 1 and rows[0].may_have_been_billed
        if not self._is_second:
            del self.fields["word"]

    @property
    def count(self) -> int:
        return sum(row.request_count for row in self.rows)

    def estimate(self) -> Estimate:
        return cost_confirmation.estimate(self.rows)

    @property
    def answers(self) -> dict[str, Any]:
        return {"allow_duplicate": True} if self._is_second else {}


class RetryQuestion(Question):
    outcomes = forms.MultipleChoiceField(
        label=gettext_lazy("Retry the rows that are:"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Nothing was done: choose which rows to retry.")},
    )
    max_tokens = forms.IntegerField(
        label=gettext_lazy("max_tokens for rows that were cut off:"),
        required=False,
        min_value=1,
        help_text=gettext_lazy(
            "More than before. Other rows keep their max_tokens. If the model does not allow the number, the requests "
            "fail when the batch runs."
        ),
    )
    retries_before = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, rows: list[MessageBatch], data: QueryDict | None = None) -> None:
        super().__init__(rows, data)
        self._counts = _counts(rows)
        self._retries = MessageBatch.objects.primary().filter(parent__in=[row.pk for row in rows])
        self.fields["outcomes"].choices = [  # type: ignore[attr-defined]
            (name, f"{label} ({self._counts[name]:,})")
            for name, label in RETRYABLE_OUTCOMES.items()
            if self._counts[name]
        ]
        self.fields["outcomes"].initial = list(RETRIED_BY_DEFAULT)
        if not any(self._counts.values()):
            self.fields["outcomes"].help_text = _("All of their requests succeeded, so there is nothing to choose.")
        self.fields["retries_before"].initial = self._retries.count()

    def clean(self) -> dict[str, Any]:
        self._refuse_a_second_time()
        chosen = self.cleaned_data.get("outcomes", [])
        if "truncated" in chosen and "max_tokens" not in self.errors and not self.cleaned_data.get("max_tokens"):
            self.add_error("max_tokens", _("Nothing was done: enter max_tokens for rows that were cut off."))
        count = sum(self._counts[name] for name in chosen)
        if count > MAX_RETRIED:
            text = _("Nothing was done: these are %(count)s requests, and at most %(most)s are drafted at once.")
            raise forms.ValidationError(text % {"count": f"{count:,}", "most": f"{MAX_RETRIED:,}"})
        return self.cleaned_data

    def _refuse_a_second_time(self) -> None:
        """Refuse a form that is posted twice: it has the number of retries at the time when it was shown."""
        retries = self._retries.count()
        if self.cleaned_data.get("retries_before") in {retries, None}:  # None is refused by the field itself
            return
        answered: Any = self.data
        self.data = shown = answered.copy()
        shown["retries_before"] = str(retries)
        text = _(
            "Nothing was done: these rows have been retried since this page was opened, by %(latest)s. Confirm to "
            "retry them again."
        )
        raise forms.ValidationError(text % {"latest": self._latest_retry()})

    def _latest_retry(self) -> MessageBatch | str:
        # Only of the same accounts: the user may not see others, and a draft can be moved to another account.
        same = self._retries.filter(account__in=[row.account for row in self.rows])
        return same.order_by("pk").last() or _("one that is deleted, or belongs to another account")

    @property
    def answers(self) -> dict[str, Any]:
        chosen = self.cleaned_data["outcomes"]
        return {
            "outcomes": chosen,
            "max_tokens": self.cleaned_data["max_tokens"] if "truncated" in chosen else None,
        }


def retry_label(batch: MessageBatch) -> str:
    """Return the label of the button that opens this form, with the number of failed rows; empty without such rows."""
    counts = {each.name: each.count for each in outcome_counts(batch)}
    if batch.state == State.ABANDONED:
        counts["missing"] = batch.request_count
    if failed := sum(counts.get(name, 0) for name in RETRIED_BY_DEFAULT):
        return _("Retry failed rows (%(n)s)") % {"n": f"{failed:,}"}
    others = sum(counts.get(name, 0) for name in RETRYABLE_OUTCOMES)
    return _("Retry rows (%(n)s)") % {"n": f"{others:,}"} if others else ""


def _counts(batches: list[MessageBatch]) -> Counter[str]:
    """Count the requests with each outcome: by the batches' counters, and otherwise only by indexes."""
    results = BatchResult.objects.primary()
    found: Counter[str] = Counter()
    for batch in batches:
        abandoned = batch.state == State.ABANDONED
        found["missing"] += batch.request_count if abandoned else batch.missing_count
        if batch.state == State.INGESTED:
            found.update({name: getattr(batch, f"{name}_count") for name in ("errored", "expired", "canceled")})
    lost = [batch.pk for batch in batches if batch.state == State.LOST]
    failed = results.filter(batch__in=lost).exclude(result_type="succeeded").order_by()
    found.update(dict(failed.values_list("result_type").annotate(Count("pk"))))
    early = results.ended_early().filter(batch__in=[batch.pk for batch in batches]).order_by()
    for stop_reason, count in early.values_list("stop_reason").annotate(Count("pk")):
        found[early_outcome(stop_reason)] += count
    return found


class AbandonQuestion(WordQuestion):
    WORD = gettext_lazy("abandon")


class DeclareLostQuestion(WordQuestion):
    WORD = gettext_lazy("declare lost")

    @property
    def note(self) -> str:
        """Return a text that says what is not known about the batches."""
        return " ".join(_unknown(row) for row in self.rows[:MAX_NAMED])


def _unknown(batch: MessageBatch) -> str:
    if not batch.anthropic_id:
        return _("It is not known whether %(batch)s ran and was billed.") % {"batch": batch}
    if batch.workspace_id:
        text = _("It is not known whether %(batch)s was deleted, or the key belongs to another Workspace than %(id)s.")
        return text % {"batch": batch, "id": batch.workspace_id}
    text = _(
        "It is not known in which Workspace %(batch)s was made: it may still exist if the key belongs to another one."
    )
    return text % {"batch": batch}


class WhichQuestion(Question):
    """Ask for the id of the batch at Anthropic: one of the candidates, or another id."""

    for_one_row = True

    id = forms.CharField(required=False, label=gettext_lazy("It may be one of these:"))
    typed_id = forms.CharField(
        required=False,
        label=gettext_lazy("Its id at Anthropic:"),
        widget=forms.TextInput({"autocomplete": "off", "class": "vTextField", "placeholder": "msgbatch_…"}),
    )

    def __init__(self, rows: list[Any], data: QueryDict | None = None) -> None:
        super().__init__(rows, data)
        known = candidates(rows[0]) if rows else []
        choices = [(found["id"], f"{found['id']}, {found['created_at']}: {found['why']}") for found in known]
        self.fields["id"].widget = forms.RadioSelect(choices=choices) if known else forms.HiddenInput()
        if known:
            self.fields["typed_id"].label = _("Or another id at Anthropic:")

    def clean(self) -> dict[str, Any]:
        if not BATCH_ID_PATTERN.fullmatch(self._given):
            text = _("Nothing was done: a batch's id looks like msgbatch_01…, not “%(given)s”.")
            raise forms.ValidationError(text % {"given": Truncator(self._given).chars(80)})
        return self.cleaned_data

    @property
    def answers(self) -> dict[str, Any]:
        return {"id": self._given}

    @property
    def _given(self) -> str:
        """Return the id that was typed, otherwise the candidate that was chosen."""
        return str(self.cleaned_data.get("typed_id") or self.cleaned_data.get("id") or "")
