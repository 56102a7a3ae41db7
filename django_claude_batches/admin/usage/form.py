"""The form of the usage page: the range of days, the length of a period, the grouping, and the filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import QuerySet
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_claude_batches.models import UsageRollup
from django_claude_batches.models.usage_totals import FIRST_DAY, GROUPS, LAST_DAY, UsageReport

# The longest range, in days, that *Automatic* divides into days, and into weeks.
MAX_DAYS_BY_DAY = 62
MAX_DAYS_BY_WEEK = 366

# The value in the query string for an empty name: batches without a kind, or an unknown model. An empty value selects
# all.
NONE = "(none)"

PERIOD_LABELS = {"day": _("Day"), "week": _("Week"), "month": _("Month")}
GROUP_LABELS = {"model": _("Model"), "job": _("Job or kind"), "account": _("Account"), "starter": _("Started by")}


class DayField(forms.DateField):
    widget = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})

    def __init__(self, **options: Any) -> None:
        limits = [MinValueValidator(FIRST_DAY), MaxValueValidator(LAST_DAY)]
        super().__init__(required=False, input_formats=["%Y-%m-%d"], validators=limits, **options)


class NameField(forms.CharField):
    """A choice of the names that occur. Other names are accepted too, and match nothing."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, strip=False, max_length=150, widget=forms.Select, **options)


class UsageForm(forms.Form):
    since = DayField(label=_("From"))
    until = DayField(label=_("To"))
    per = forms.ChoiceField(label=_("Per"), choices=[("", _("Automatic")), *PERIOD_LABELS.items()], required=False)
    by = forms.ChoiceField(label=_("By"), choices=[("", _("Time only")), *GROUP_LABELS.items()], required=False)
    model = NameField(label=GROUP_LABELS["model"])
    job = NameField(label=GROUP_LABELS["job"])
    account = NameField(label=GROUP_LABELS["account"])
    starter = NameField(label=GROUP_LABELS["starter"])

    @classmethod
    def of(cls, query: QueryDict) -> UsageForm:
        """Return the form for a query string. Without a first day, it starts with the first day of last month."""
        given = query.copy()
        if "since" not in given:
            last_month = timezone.localdate().replace(day=1) - timedelta(days=1)
            given["since"] = last_month.replace(day=1).isoformat()
        return cls(given)

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        if found.get("since") and found.get("until") and found["since"] > found["until"]:
            self.add_error("until", _("The last day is before the first."))
        return found

    def report(self, rows: QuerySet[UsageRollup]) -> UsageReport:
        """Return the report for the form, which must be valid."""
        asked = self.cleaned_data
        only = {name: "" if asked[name] == NONE else asked[name] for name in GROUPS if asked[name]}
        return UsageReport(rows, asked["since"], asked["until"], only)

    @property
    def per_period(self) -> str:
        """Return the length of a period, `day`, `week` or `month`: as chosen, or one that suits the range of days."""
        asked = self.cleaned_data
        if asked["per"]:
            return str(asked["per"])
        until: date = asked["until"] or timezone.localdate()
        days = (until - (asked["since"] or FIRST_DAY)).days
        return "day" if days <= MAX_DAYS_BY_DAY else "week" if days <= MAX_DAYS_BY_WEEK else "month"

    @property
    def names(self) -> list[str]:
        """Return the names by which usage is grouped: the period, and one of `GROUPS` if it is chosen."""
        return [self.per_period, *([self.cleaned_data["by"]] if self.cleaned_data["by"] else [])]

    def offer(self, choices: Mapping[str, Sequence[str]]) -> None:
        """Set the choices of the filters to these names. A selected name is always a choice."""
        for name in GROUPS:
            selected = self[name].value() or ""
            known = {**{value or NONE: value or NONE for value in choices[name]}}
            known.setdefault(selected, selected)
            known[""] = str(_("All"))
            options = sorted(known.items(), key=lambda item: (bool(item[0]), item[1]))
            self.fields[name].widget.choices = options
