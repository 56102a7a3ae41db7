"""The form of an export of a batch's results: it offers all filters of their list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib.admin.views.main import SEARCH_VAR
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_claude_batches import wire
from django_claude_batches.admin.base.error_groups import error_groups_now
from django_claude_batches.admin.results.filters import ErrorTypeFilter, ResultOutcomeFilter, TierFilter
from django_claude_batches.admin.results.row_list import ANSWERS, SEARCH_IN
from django_claude_batches.export import cells
from django_claude_batches.export.formats import CsvExport, Export, JsonlExport
from django_claude_batches.export.selection import ResultSelection, missing_rows
from django_claude_batches.models import BatchResult, MessageBatch

FORMATS = {
    JsonlExport.suffix: gettext_lazy("JSONL, for programs: each line as the API sent it"),
    CsvExport.suffix: gettext_lazy("CSV, for spreadsheets"),
}
OF_REQUESTS = frozenset(name for name, column in cells.COLUMNS.items() if column.is_of_request)

# Characters of the uploaded file's header in the label of its columns.
MAX_HEADER_CHARACTERS = 200

ERROR_TYPE = ErrorTypeFilter.parameter_name

# Parameters of the list of results that are also fields of the form.
NARROWING = ("outcome", ERROR_TYPE, TierFilter.parameter_name, SEARCH_VAR)

# Prefix of an error type in its field: some errors have no type, and an empty value means all results.
KIND = "="

ALL = ("", gettext_lazy("All"))

ESCAPED, AS_THEY_ARE = "escaped", "as_they_are"


class ExportForm(forms.Form):
    format = forms.ChoiceField(label=gettext_lazy("Format"), choices=list(FORMATS.items()), widget=forms.RadioSelect)
    outcome = forms.ChoiceField(
        label=gettext_lazy("Results"),
        choices=[ALL, *ResultOutcomeFilter.methods.items()],
        widget=forms.RadioSelect,
        required=False,
    )
    error_type = forms.ChoiceField(label=gettext_lazy("Kind of error"), widget=forms.RadioSelect, required=False)
    tier = forms.ChoiceField(
        label=gettext_lazy("Price"),
        choices=[ALL, *TierFilter.methods.items()],
        widget=forms.RadioSelect,
        required=False,
    )
    q = forms.CharField(
        label=gettext_lazy("The custom_id begins with:"), max_length=wire.MAX_CUSTOM_ID_LENGTH, required=False
    )
    columns = forms.MultipleChoiceField(
        label=gettext_lazy("Columns of the CSV"), widget=forms.CheckboxSelectMultiple, required=False
    )
    formulas = forms.ChoiceField(
        label=gettext_lazy("Texts of the CSV that a spreadsheet would run as a formula"),
        choices=[
            (ESCAPED, gettext_lazy("Put an apostrophe before them: for spreadsheets")),
            (AS_THEY_ARE, gettext_lazy("Leave them as they are: for programs, or if you trust each cell and answer")),
        ],
        widget=forms.RadioSelect,
        required=False,
    )

    def __init__(self, *args: Any, batch: MessageBatch, columns: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._batch = batch
        fields: dict[str, Any] = self.fields
        fields["columns"].choices = [(name, self._column(name)) for name in columns]
        if batch.cells_header:
            fields["format"].choices = list(reversed(FORMATS.items()))
        fields[ERROR_TYPE].choices = [ALL, *self._kinds()]
        if len(fields[ERROR_TYPE].choices) == 1:
            del fields[ERROR_TYPE]

    def _column(self, name: str) -> str:
        """Return the label of a choice. All columns of the uploaded file are one choice; so are all output fields."""
        if name == cells.OUTPUT:
            return _("output: the fields of a JSON schema")
        if name != cells.CELLS:
            return name
        header = ", ".join(filter(None, self._batch.cells_header))
        return _("the columns of the file: %(names)s") % {"names": Truncator(header).chars(MAX_HEADER_CHARACTERS)}

    def _kinds(self) -> list[tuple[str, str]]:
        """Return the kinds of error, including the one by which the list was filtered, even if no error has it."""
        groups = error_groups_now(self._batch)
        choices = {f"{KIND}{group.error_type}": f"{group.error_type or '-'} ({group.rows:,})" for group in groups}
        wanted = str(self.initial.get(ERROR_TYPE, ""))
        if wanted and "\x00" not in wanted:  # no database stores NUL
            choices.setdefault(wanted, f"{wanted.removeprefix(KIND) or '-'} (0)")
        return list(choices.items())

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        if cleaned.get("format") == CsvExport.suffix and not cleaned.get("columns") and "columns" not in self.errors:
            self.add_error("columns", _("A CSV needs at least one column."))
        return cleaned

    @property
    def selection(self) -> ResultSelection:
        chosen = self.cleaned_data
        kind = chosen.get(ERROR_TYPE, "")
        return ResultSelection(
            outcomes=[chosen["outcome"]] if chosen["outcome"] else [],
            error_types=[kind.removeprefix(KIND)] if kind else [],
            of_another_tier=chosen["tier"] == "of_another_tier",
            of_unknown_cost=chosen["tier"] == "of_unknown_cost",
            beginning=chosen["q"],
        )

    def export(self) -> Export:
        results = self.selection.apply(BatchResult.objects.primary().filter(batch=self._batch))
        if self.cleaned_data["format"] != CsvExport.suffix:
            return JsonlExport(results)
        columns = self.cleaned_data["columns"]
        return CsvExport(
            results,
            columns,
            missing=missing_rows(self._batch, self.selection, columns),
            escape_formulas=self.cleaned_data["formulas"] != AS_THEY_ARE,
        )

    def describe(self) -> str:
        """Return what is exported, for the timeline."""
        words = [self.cleaned_data["format"].upper(), *self.selection.describe()]
        if self.cleaned_data["format"] == CsvExport.suffix:
            words += self.cleaned_data["columns"]
            words += ["formulas as they are"] if self.cleaned_data["formulas"] == AS_THEY_ARE else []
        return ", ".join(words)

    def file_name(self, suffix: str) -> str:
        parts = [
            f"batch-{self._batch.pk}",
            *self.selection.outcomes,
            *(["filtered"] if self.selection.has_further_filters else []),
        ]
        return f"{'-'.join(parts)}.{suffix}"


def asked(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the filters of a list of results.

    Parameters that the list ignores are left out, and a search for words: an export selects by custom_id.
    """
    found = {name: parameters[name] for name in NARROWING if name in parameters}
    for listed in (ResultOutcomeFilter, TierFilter):
        if found.get(listed.parameter_name) not in listed.methods:
            found.pop(listed.parameter_name, None)
    is_of_words = parameters.get(SEARCH_IN) == ANSWERS
    if is_of_words or not found.get(SEARCH_VAR, "").strip():
        found.pop(SEARCH_VAR, None)
    return found


def initial(batch: MessageBatch, narrowed: Mapping[str, str], columns: list[str]) -> dict[str, Any]:
    """Return the form's initial values; `narrowed` is the result of `asked`."""
    kind = f"{KIND}{narrowed[ERROR_TYPE]}" if ERROR_TYPE in narrowed else ""
    return {
        "format": CsvExport.suffix if batch.cells_header else JsonlExport.suffix,
        "columns": [name for name in cells.default_columns(batch) if name in columns],
        "formulas": ESCAPED,
        **{name: narrowed.get(name, "") for name in NARROWING},
        ERROR_TYPE: kind,
    }
