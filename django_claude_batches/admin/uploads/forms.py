"""The forms of a new batch: one uploads a file with its settings, one changes the settings after the check."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_claude_batches import conf
from django_claude_batches.admin.uploads.model_input import ModelInput
from django_claude_batches.drafting.request import MAX_TOKENS
from django_claude_batches.model_limits import EXTENDED_BETA, is_lifted, warnings_of
from django_claude_batches.models import BatchUpload
from django_claude_batches.models.upload import MAX_UPLOAD_BYTES
from django_claude_batches.request_files import BadPrompt, Prompt, read_schema
from django_claude_batches.request_files.prompt import DEFAULT_MAX_TOKENS

# Fields for a table. Those of QUESTION are errors without a prompt: the requests of other files have their own params.
QUESTION = ("model", "max_tokens", "system", "schema", "delimiter", "name_by")
OF_A_TABLE = ("prompt", *QUESTION, "keep_cells")
OF_A_BATCH = ("label", "kind", "account")
COLUMNS = (*OF_A_BATCH, *OF_A_TABLE)

# Fields of free text. The text is kept as typed even if it is not valid.
TYPED = ("prompt", "model", "system", "schema", "label", "name_by")

TABLE_FIELDSET: tuple[Any, dict[str, Any]] = (
    gettext_lazy("For a CSV file: the prompt for each row"),
    {
        "fields": list(OF_A_TABLE),
        "description": gettext_lazy("The first row of the file names its columns."),
    },
)
FIELDSETS: list[tuple[Any, dict[str, Any]]] = [(None, {"fields": ["file", *OF_A_BATCH]}), TABLE_FIELDSET]
FIELDSETS_OF_A_CHANGE: list[tuple[Any, dict[str, Any]]] = [TABLE_FIELDSET, (None, {"fields": list(OF_A_BATCH)})]


class BatchFromFileForm(forms.ModelForm):  # type: ignore[type-arg]
    """The prompt and the settings of an uploaded file."""

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
            "kind": gettext_lazy("A name by which code recognizes the batch. Leave it empty if you do not know one."),
            "prompt": gettext_lazy(
                "With the names of columns in braces: Tag this review: {review}. Write {{ and }} for literal braces. "
                "Leave it empty for a file of requests."
            ),
            "model": gettext_lazy(
                "Choose from the list, which shows the price of a million tokens in a batch, or enter another name."
            ),
            "schema": gettext_lazy("A JSON schema that each answer has to fit. Leave it empty for any text."),
            "name_by": gettext_lazy(
                "The column that names each request, such as a ticket's number. If empty: the column custom_id, or "
                "else row numbers, such as row-2. The row's number is added to names that are repeated, have more than "
                "40 characters, or have characters other than a-z A-Z 0-9 _ -."
            ),
            "keep_cells": gettext_lazy(
                "A CSV export then has all columns of the file beside the answers. They are stored here like the "
                "prompts, at most 64 kB a row; only the columns that the prompt names are sent."
            ),
        }
        widgets = {
            "label": forms.TextInput(attrs={"class": "vTextField"}),
            "model": ModelInput(attrs={"class": "vTextField", "spellcheck": "false"}),
            "name_by": forms.TextInput(attrs={"class": "vTextField", "spellcheck": "false"}),
            "prompt": forms.Textarea(attrs={"class": "vLargeTextField", "rows": 6}),
            "system": forms.Textarea(attrs={"class": "vLargeTextField", "rows": 3}),
            "schema": forms.Textarea(attrs={"class": "vLargeTextField", "rows": 3, "spellcheck": "false"}),
        }

    def __init__(self, *args: Any, aliases: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = list(aliases)
        self.fields["account"].choices = [(alias, alias) for alias in known]  # type: ignore[attr-defined]
        self.fields["account"].initial = (
            conf.DEFAULT_ACCOUNT if conf.DEFAULT_ACCOUNT in known else next(iter(known), conf.DEFAULT_ACCOUNT)
        )

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

    @property
    def file_name(self) -> str:
        """Return the file's name; empty if there is no file."""
        return str(self.instance.name)

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        is_table = bool(data.get("prompt"))
        if is_table and not data.get("model"):
            self.add_error("model", _("Enter a model."))
        if not is_table and "prompt" not in self.errors:
            if self.file_name.lower().endswith(".csv"):
                self.add_error("prompt", _("Enter a prompt for the rows of this file."))
            for name in QUESTION:
                if data.get(name):
                    text = _("Only for a CSV file with a prompt: the requests in other files have their own.")
                    self.add_error(name, text)
        for warning in refused_max_tokens(data.get("model") or "", data.get("max_tokens")):
            self.add_error("max_tokens", warning)
        return data

    def columns(self) -> dict[str, Any]:
        """Return the values to store: those that are valid, and texts that are not valid as they were typed."""
        found = {name: self.cleaned_data[name] for name in COLUMNS if name in self.cleaned_data}
        for name in TYPED:
            if name in self.errors and _is_storable(text := self.data.get(name, ""), name):
                found[name] = _without_cr(text)
        if found.get("prompt") and not found.get("max_tokens"):
            found["max_tokens"] = DEFAULT_MAX_TOKENS
        return found

    def problems(self) -> str:
        """Return the errors of the form as one text."""
        return " ".join(
            f"{self.fields[name].label}: {error}" if name in self.fields else str(error)
            for name, errors in self.errors.items()
            for error in errors
        )


class NewBatchForm(BatchFromFileForm):
    file = forms.FileField(
        label=gettext_lazy("File"),
        help_text=gettext_lazy(
            'Requests in the API\'s own format, one {"custom_id": …, "params": …} a line; or a table as CSV. In UTF-8.'
        ),
    )

    field_order = ("file",)

    @property
    def file_name(self) -> str:
        file = self.cleaned_data.get("file")
        return "" if file is None else str(file.name)

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > MAX_UPLOAD_BYTES:
            text = _("The file has %(bytes)s bytes, and at most %(most)s are allowed: split it.")
            raise forms.ValidationError(text, params={"bytes": f"{file.size:,}", "most": f"{MAX_UPLOAD_BYTES:,}"})
        return file

    def store(self, *, by: Any) -> BatchUpload:
        """Store the file with the form's values. If the form has errors, record them; the file is then not checked.

        The form must have a file.
        """
        file = self.cleaned_data["file"]
        name = "".join(filter(str.isprintable, file.name))[:200] or _("a file")
        columns = {"account": self.fields["account"].initial, **self.columns()}
        problem = "" if self.is_valid() else self.problems()
        return BatchUpload.objects.store(file.chunks(), name=name, created_by=by, problem=problem, **columns)


def refused_max_tokens(model: str, max_tokens: int | None) -> list[str]:
    """Return the warnings about `max_tokens` that remain with the beta for longer answers, which a draft may name."""
    found = warnings_of({"model": model, "max_tokens": max_tokens})
    return [warning for warning in found if not is_lifted(warning, (EXTENDED_BETA,))]


def _is_storable(text: str, name: str) -> bool:
    field = BatchUpload._meta.get_field(name)
    return "\0" not in text and len(text) <= (getattr(field, "max_length", None) or MAX_UPLOAD_BYTES)


def _without_cr(text: str) -> str:
    """Return the text with LF as line ends: browsers send CRLF."""
    return text.replace("\r\n", "\n")


def _refused(read: Any, text: str) -> None:
    """Raise ValidationError, with the reason, if `read` rejects the text."""
    try:
        read(text)
    except BadPrompt as error:
        raise forms.ValidationError(str(error)) from error
