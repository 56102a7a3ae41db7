"""What is asked before money is spent: above a limit of the settings, how many requests these are."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_claude_batches.admin.actions.confirmation import Question, checked_word
from django_claude_batches.admin.base import display
from django_claude_batches.estimates import Estimate
from django_claude_batches.services import cost_confirmation

SEPARATORS = re.compile(r"[\s,.'\u2019_]")
"""What people write between thousands."""


class CountQuestion(Question):
    """The number of requests, if they are so many, or may cost so much, that it has to be typed in."""

    requests = forms.CharField(
        label=gettext_lazy("That is much: type the number of requests to confirm:"),
        required=False,
        max_length=30,
        widget=forms.TextInput({"autocomplete": "off", "inputmode": "numeric", "class": "vTextField"}),
    )

    def __init__(self, rows: list[Any], data: QueryDict | None = None) -> None:
        super().__init__(rows, data)
        if not cost_confirmation.is_much(self.count, self.estimate):
            del self.fields["requests"]

    @property
    def count(self) -> int:
        """How many requests would be sent."""
        raise NotImplementedError

    def estimate(self) -> Estimate:
        """Give what they may cost."""
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


class SubmitQuestion(CountQuestion):
    """Of drafts; and, in words, of the one batch that may have been billed before."""

    WORD = gettext_lazy("send again")

    word = forms.CharField(
        required=False, max_length=50, widget=forms.TextInput({"autocomplete": "off", "class": "vTextField"})
    )

    def __init__(self, rows: list[Any], data: QueryDict | None = None) -> None:
        super().__init__(rows, data)
        self._is_second = len(rows) == 1 and rows[0].may_have_been_billed
        if self._is_second:
            label = _("It may have been billed before, and is then paid for twice. Type “%(word)s” to confirm:")
            self.fields["word"].label = label % {"word": self.WORD}
        else:
            del self.fields["word"]

    @property
    def count(self) -> int:
        return sum(row.request_count for row in self.rows)

    def estimate(self) -> Estimate:
        return cost_confirmation.estimate(self.rows)

    def clean_word(self) -> str:
        return checked_word(self.cleaned_data["word"], self.WORD)

    @property
    def answers(self) -> dict[str, Any]:
        return {"allow_duplicate": True} if self._is_second else {}
