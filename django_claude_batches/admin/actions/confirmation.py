"""What a confirmation page asks, beside whether to do it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_claude_batches.admin.batches.unconfirmed import candidates
from django_claude_batches.models import MessageBatch
from django_claude_batches.wire import BATCH_ID_PATTERN


class Question(forms.Form):
    """Asks nothing more. Forms below do, about the `rows` that the action is for; `answers` go on to the verb."""

    for_one_row = False

    def __init__(self, rows: list[Any], data: QueryDict | None = None) -> None:
        super().__init__(data, auto_id="dcb-%s", label_suffix="")
        self.rows = rows

    @property
    def note(self) -> str:
        """What there is to know before one answers."""
        return ""

    @property
    def answers(self) -> dict[str, Any]:
        return {}


class WordQuestion(Question):
    """Asks for a word to be typed."""

    WORD: Promise

    word = forms.CharField(
        required=False, max_length=50, widget=forms.TextInput({"autocomplete": "off", "class": "vTextField"})
    )

    def __init__(self, rows: list[Any], data: QueryDict | None = None) -> None:
        super().__init__(rows, data)
        self.fields["word"].label = _("Type “%(word)s” to confirm:") % {"word": self.WORD}

    def clean_word(self) -> str:
        return checked_word(self.cleaned_data["word"], self.WORD)


def checked_word(typed: str, word: Promise) -> str:
    """Raise ValidationError unless that word was typed."""
    if typed.strip().lower() != str(word):
        raise forms.ValidationError(_("Nothing was done: type “%(word)s” to confirm.") % {"word": word})
    return typed


class GiveUpQuestion(WordQuestion):
    WORD = gettext_lazy("give up")


class DeclareLostQuestion(WordQuestion):
    WORD = gettext_lazy("declare lost")

    @property
    def note(self) -> str:
        """Name what is not known of them."""
        return " ".join(_unknown(row) for row in self.rows[:MOST_NAMED])


MOST_NAMED = 20


def _unknown(batch: MessageBatch) -> str:
    if not batch.anthropic_id:
        return _("Of %(batch)s it is not known whether it ran, and was billed.") % {"batch": batch}
    if batch.workspace_id:
        text = _("Of %(batch)s it is not known whether it was deleted, or the key is of another Workspace than %(id)s.")
        return text % {"batch": batch, "id": batch.workspace_id}
    text = _(
        "Of %(batch)s it is not known in which Workspace it was made: it may be there if the key is another one's."
    )
    return text % {"batch": batch}


class WhichQuestion(Question):
    """Asks for an id of Anthropic's: one of those that may be it, or another."""

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
        """The id that was typed, else the candidate that was chosen."""
        return str(self.cleaned_data.get("typed_id") or self.cleaned_data.get("id") or "")
