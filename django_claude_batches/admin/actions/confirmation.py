"""The forms of confirmation pages: a plain one, and one that asks for a number before large submissions."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_claude_batches.admin.base import display
from django_claude_batches.estimates import Estimate
from django_claude_batches.services import cost_confirmation

# Characters that people type between thousands.
SEPARATORS = re.compile(r"[\s,.'\u2019_]")


class Question(forms.Form):
    """The form of a confirmation page, without fields.

    Subclasses add fields; their `answers` become keyword arguments of the action's `perform`.
    """

    for_one_row = False

    def __init__(self, rows: list[Any], data: QueryDict | None = None) -> None:
        super().__init__(data, auto_id="dcb-%s", label_suffix="")
        self.rows = rows

    @property
    def note(self) -> str:
        """Return a text to read before confirming, such as an estimate; empty if there is none."""
        return ""

    @property
    def answers(self) -> dict[str, Any]:
        return {}


class CountQuestion(Question):
    """Ask for the number of requests if the number or the estimated cost is above the limit in the settings."""

    requests = forms.CharField(
        label=gettext_lazy("Large batch. Type the number of requests to confirm:"),
        required=False,
        max_length=30,
        widget=forms.TextInput({"autocomplete": "off", "inputmode": "numeric", "class": "vTextField"}),
    )

    def __init__(self, rows: list[Any], data: QueryDict | None = None) -> None:
        super().__init__(rows, data)
        if not cost_confirmation.needs_confirmation(self.count, self.estimate):
            del self.fields["requests"]

    @property
    def count(self) -> int:
        """Return how many requests would be sent."""
        raise NotImplementedError

    def estimate(self) -> Estimate:
        """Return the estimated cost of these requests."""
        raise NotImplementedError

    @property
    def note(self) -> str:
        return _("Estimate: %(estimate)s.") % {"estimate": display.estimate(self.estimate())}

    def clean_requests(self) -> str:
        typed = str(self.cleaned_data["requests"])
        if SEPARATORS.sub("", typed) != str(self.count):
            text = _("Nothing was done: type %(count)s, the number of requests, to confirm.")
            raise forms.ValidationError(text % {"count": f"{self.count:,}"})
        return typed
