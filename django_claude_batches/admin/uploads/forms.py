"""The form of a new batch: a file, and for a table the prompt of its rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_claude_batches import conf
from django_claude_batches.drafting.request import MAX_TOKENS
from django_claude_batches.models import BatchUpload
from django_claude_batches.models.upload import MAX_UPLOAD_BYTES
from django_claude_batches.request_files import BadPrompt, Prompt, read_schema
from django_claude_batches.request_files.prompt import DEFAULT_MAX_TOKENS

OF_A_TABLE = ("prompt", "model", "max_tokens", "system", "schema", "delimiter")
COLUMNS = ("label", "kind", "account", *OF_A_TABLE)

FIELDSETS: list[tuple[Any, dict[str, Any]]] = [
    (None, {"fields": ["file", "label", "kind", "account"]}),
    (
        gettext_lazy("For a CSV file: what each row is asked"),
        {
            "fields": list(OF_A_TABLE),
            "description": gettext_lazy(
                "The first row of the file names its columns. A column custom_id names the requests; without one they "
                "are called by their rows: row-2, row-3, …"
            ),
        },
    ),
]


class NewBatchForm(forms.ModelForm):  # type: ignore[type-arg]
    file = forms.FileField(
        label=gettext_lazy("File"),
        help_text=gettext_lazy(
            'Requests in the API\'s own format, one {"custom_id": …, "params": …} a line; or a table as CSV. In UTF-8.'
        ),
    )
    account = forms.ChoiceField(label=gettext_lazy("Account"))
    max_tokens = forms.IntegerField(
        label=gettext_lazy("Max tokens"),
        required=False,
        min_value=1,
        max_value=MAX_TOKENS,
        help_text=gettext_lazy("For each answer. Default: 1024."),
    )

    delimiter = forms.ChoiceField(
        label=gettext_lazy("Delimiter"),
        required=False,
        choices=[
            ("", gettext_lazy("Guessed from the file")),
            ("comma", gettext_lazy("Comma")),
            ("semicolon", gettext_lazy("Semicolon")),
            ("tab", gettext_lazy("Tab")),
            ("pipe", gettext_lazy("Pipe |")),
        ],
        help_text=gettext_lazy("The separator between cells."),
    )

    class Meta:
        model = BatchUpload
        fields = COLUMNS
        help_texts = {
            "label": gettext_lazy("A name for the batch. Default: the name of the file."),
            "kind": gettext_lazy("For receivers in your code. Leave it empty if you do not know."),
            "prompt": gettext_lazy(
                "With the names of columns in braces: Tag this review: {review}. Write {{ and }} for literal braces. "
                "Leave it empty for a file of requests."
            ),
            "model": gettext_lazy("Such as claude-haiku-4-5."),
            "schema": gettext_lazy("A JSON schema that each answer has to fit. Empty: any text."),
        }
        widgets = {
            "label": forms.TextInput(attrs={"class": "vTextField"}),
            "model": forms.TextInput(attrs={"class": "vTextField", "spellcheck": "false"}),
            "prompt": forms.Textarea(attrs={"class": "vLargeTextField", "rows": 6}),
            "system": forms.Textarea(attrs={"class": "vLargeTextField", "rows": 3}),
            "schema": forms.Textarea(attrs={"class": "vLargeTextField", "rows": 3, "spellcheck": "false"}),
        }

    def __init__(self, *args: Any, aliases: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["account"].choices = [(alias, alias) for alias in aliases]  # type: ignore[attr-defined]
        self.fields["account"].initial = conf.DEFAULT_ACCOUNT

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > MAX_UPLOAD_BYTES:
            text = _("It has %(bytes)s bytes, and at most %(most)s are allowed: split the file.")
            raise forms.ValidationError(text, params={"bytes": f"{file.size:,}", "most": f"{MAX_UPLOAD_BYTES:,}"})
        return file

    def clean_prompt(self) -> str:
        text = _without_cr(self.cleaned_data["prompt"])
        if text:
            _refused(Prompt, text)
        return text

    def clean_system(self) -> str:
        return _without_cr(self.cleaned_data["system"])

    def clean_schema(self) -> str:
        text: str = self.cleaned_data["schema"]
        if text:
            _refused(read_schema, text)
        return text

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        is_table = bool(data.get("prompt"))
        file = data.get("file")
        if is_table and not data.get("model"):
            self.add_error("model", _("Enter a model."))
        if not is_table and "prompt" not in self.errors:
            if file is not None and file.name.lower().endswith(".csv"):
                self.add_error("prompt", _("Enter a prompt for the rows of this file."))
            for name in OF_A_TABLE[1:]:
                if data.get(name):
                    self.add_error(name, _("Only for a CSV file with a prompt: other files have their own."))
        return data

    def store(self, *, by: Any) -> BatchUpload:
        """Store the file and the columns of its draft."""
        data = self.cleaned_data
        columns = {name: data[name] for name in COLUMNS}
        if columns["prompt"]:
            columns["max_tokens"] = columns["max_tokens"] or DEFAULT_MAX_TOKENS
        name = "".join(filter(str.isprintable, data["file"].name))[:200] or _("a file")
        return BatchUpload.objects.store(data["file"].chunks(), name=name, created_by=by, **columns)


def _without_cr(text: str) -> str:
    """Return the text with LF as line ends: browsers send CRLF."""
    return text.replace("\r\n", "\n")


def _refused(read: Any, text: str) -> None:
    """Validate a text, and raise ValidationError with what is wrong with it."""
    try:
        read(text)
    except BadPrompt as error:
        raise forms.ValidationError(str(error)) from error
