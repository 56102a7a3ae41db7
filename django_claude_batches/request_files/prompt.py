"""The prompt of a table, which contains names of columns, and the params that all requests of the table share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

from django_claude_batches.output_schema.jsonschema_validator import schema_problem
from django_claude_batches.request_files.record_limits import MAX_PLACES, MAX_PROMPT_CHARACTERS
from django_claude_batches.strict_json import decoded

# Default of `max_tokens`.
DEFAULT_MAX_TOKENS = 1024

HINT = "Write {{ and }} for literal braces."


class BadPrompt(ValueError):
    """The prompt or the output schema is invalid; the text says why."""


class Prompt:
    """A text like `Tag this review: {review}`, with `{{` and `}}` for literal braces. Raise BadPrompt if it is invalid.

    The syntax is that of `str.format` without attributes, indexes and formats: prompts are written by people without
    access to the code, and `{review.__class__}` would give access to objects of the process.
    """

    def __init__(self, text: str) -> None:
        try:
            parsed = list(Formatter().parse(text))
        except ValueError as error:
            problem = str(error).removesuffix(" in format string")
            raise BadPrompt(f"The prompt has an unmatched brace: {problem}. {HINT}") from None
        self.text = text
        self._parts = [(literal, _column(name, spec, conversion)) for literal, name, spec, conversion in parsed]
        if len(self._parts) > MAX_PLACES:
            raise BadPrompt(f"The prompt names columns in more than {MAX_PLACES:,} places, which is the maximum.")
        self.columns = tuple(dict.fromkeys(name for _literal, name in self._parts if name))
        if not self.columns:
            raise BadPrompt("The prompt names no column, such as {review}, so every row would get the same prompt.")

    def fill(self, cells: Mapping[str, str]) -> str:
        """Return the prompt filled with a row's cells. Raise ValueError if it has more than 16,000,000 characters."""
        texts = [text for literal, name in self._parts for text in (literal, cells[name] if name else "")]
        if sum(map(len, texts)) > MAX_PROMPT_CHARACTERS:
            raise ValueError(
                f"the prompt has more than {MAX_PROMPT_CHARACTERS:,} characters with the cells of this row"
            )
        return "".join(texts)


def _column(name: str | None, spec: str | None, conversion: str | None) -> str:
    """Return the name in a pair of braces; empty without braces. Raise BadPrompt if it is not a plain name."""
    if name is None:
        return ""
    if not name.strip():
        raise BadPrompt(f"The prompt has braces without a column's name between them. {HINT}")
    if spec or conversion or any(mark in name for mark in ".[]"):
        shown = "{" + name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "") + "}"
        raise BadPrompt(
            f"{shown:.80} is not just a column's name: text in braces cannot contain the characters . [ ] ! and :, so "
            f"rename the column. {HINT}"
        )
    return name.strip()


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt with the params of its requests, and how the table is read.

    `schema` is the JSON Schema that each answer must fit. `delimiter` is a key of `csv_table.DELIMITERS`; if empty, the
    delimiter is guessed. `name_by` is the column from whose text custom_ids are made; if empty, the column `custom_id`
    has them. With `keep_cells`, the cells of each row are kept with its request, for the export.
    """

    prompt: Prompt
    model: str
    max_tokens: int = DEFAULT_MAX_TOKENS
    system: str = ""
    schema: Mapping[str, Any] | None = None
    delimiter: str = ""
    name_by: str = ""
    keep_cells: bool = True

    def params(self, cells: Mapping[str, str]) -> dict[str, Any]:
        """Return the body of the Messages call for a row. Raise ValueError if the prompt is empty or too long."""
        content = self.prompt.fill(cells)
        if not content.strip():
            raise ValueError("the prompt is empty with the cells of this row")
        params: dict[str, Any] = {
            "model": self.model,
            "max_tokens": self.max_tokens,
            "messages": [{"role": "user", "content": content}],
        }
        if self.system:
            params["system"] = self.system
        if self.schema is not None:
            params["output_config"] = {"format": {"type": "json_schema", "schema": self.schema}}
        return params


def read_schema(text: str) -> dict[str, Any]:
    """Return an output schema from its JSON. Raise BadPrompt unless it is a JSON object and a JSON Schema.

    If jsonschema is not installed, any JSON object is accepted.
    """
    try:
        schema = decoded(text.encode())
    except ValueError as error:
        raise BadPrompt(f"The output schema is {error}.") from None
    if not isinstance(schema, dict):
        raise BadPrompt('The output schema is not a JSON object like {"type": "object", …}.')
    if problem := schema_problem(schema):
        raise BadPrompt(f"The output schema {problem}.")
    return schema
