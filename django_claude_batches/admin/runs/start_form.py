"""The form that starts a job: a label, and above a limit the number of rows."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core import signing
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_claude_batches.admin.actions.confirmation import SEPARATORS
from django_claude_batches.admin.runs.preview import Seen

SALT = "django_claude_batches.start"

# Hours after which a preview can no longer be confirmed.
HOURS = 12


class StartForm(forms.Form):
    """The form has the numbers of the preview, signed, so that a start confirms a preview that was shown.

    `seen` is None if they are missing, forged or expired.
    """

    label = forms.CharField(
        label=gettext_lazy("Label:"),
        required=False,
        max_length=200,
        widget=forms.TextInput({"class": "vTextField", "autocomplete": "off"}),
        help_text=gettext_lazy("A name for this run. Optional."),
    )
    rows = forms.CharField(
        label=gettext_lazy("Large run. Type the number of rows to confirm:"),
        required=False,
        max_length=30,
        widget=forms.TextInput({"autocomplete": "off", "inputmode": "numeric", "class": "vTextField"}),
    )
    shown = forms.CharField(widget=forms.HiddenInput)

    def __init__(self, name: str, data: QueryDict | None = None, *, seen: Seen | None = None) -> None:
        super().__init__(data, auto_id="dcb-%s", label_suffix="")
        self._name = name
        self.seen = seen if data is None else self._read(data.get("shown", ""))
        if self.seen is None or not self.seen.needs_confirmation:
            del self.fields["rows"]
        if seen is not None:
            self.fields["shown"].initial = signing.dumps([name, seen.rows, seen.needs_confirmation], salt=SALT)

    def _read(self, shown: Any) -> Seen | None:
        try:
            name, rows, needs_confirmation = signing.loads(str(shown), salt=SALT, max_age=HOURS * 3600)
        except signing.BadSignature:
            return None
        return Seen(rows, needs_confirmation) if name == self._name else None

    def clean_rows(self) -> str:
        typed = str(self.cleaned_data["rows"])
        if self.seen is not None and SEPARATORS.sub("", typed) != str(self.seen.rows):
            text = _("Nothing was started: type %(count)s, the number of rows, to confirm.")
            raise forms.ValidationError(text % {"count": f"{self.seen.rows:,}"})
        return typed

    def clean(self) -> dict[str, Any]:
        if self.seen is None:
            raise forms.ValidationError(_("Nothing was started: look again at what would be sent."))
        return self.cleaned_data
