"""The prompt of a table, with the names of columns in it, and the params that all of its requests share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

from django_claude_batches.output_schema.jsonschema_validator import schema_problem
from django_claude_batches.request_files.record_limits import MAX_PLACES, MAX_PROMPT_CHARACTERS
from django_claude_batches.strict_json import decoded

# Tokens of an answer unless set.
DEFAULT_MAX_TOKENS = 1024

HINT = "Write {{ and }} for braces that are meant as such."


class BadPrompt(ValueError):
    """An invalid prompt or output schema; the text says why."""


class Prompt:
    """A text like `Tag this review: {review}`; `{{` and `}}` are braces. Raise BadPrompt for an invalid one.

    The braces of `str.format` without attribute access: people without access to the code write prompts, and
    `{review.__class__}` would reach into the process.
    """

    def __init__(self, text: str) -> None:
        try:
            parsed = list(Formatter().parse(text))
        except ValueError as error:
            problem = str(error).removesuffix(" in format string")
            raise BadPrompt(f"The prompt has a brace without its other: {problem}. {HINT}") from None
        self.text = text
        self._parts = [(literal, _column(name, spec, conversion)) for literal, name, spec, conversion in parsed]
        if len(self._parts) > MAX_PLACES:
            raise BadPrompt(f"The prompt names columns in more than {MAX_PLACES:,} places, and may in so many.")
        self.columns = tuple(dict.fromkeys(name for _literal, name in self._parts if name))
        if not self.columns:
            raise BadPrompt("The prompt names no column, like {review}: each row would be asked the same.")

    def fill(self, cells: Mapping[str, str]) -> str:
        """Return the prompt with a row's cells in place of its columns; raise ValueError if that is too long."""
        texts = [text for literal, name in self._parts for text in (literal, cells[name] if name else "")]
        if sum(map(len, texts)) > MAX_PROMPT_CHARACTERS:
            raise ValueError(
                f"the prompt has more than {MAX_PROMPT_CHARACTERS:,} characters with the cells of this row"
            )
        return "".join(texts)


def _column(name: str | None, spec: str | None, conversion: str | None) -> str:
    """Return the name in a pair of braces, empty without braces."""
    if name is None:
        return ""
    if not name.strip():
        raise BadPrompt(f"The prompt has braces without a column's name between them. {HINT}")
    if spec or conversion or any(mark in name for mark in ".[]"):
        shown = "{" + name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "") + "}"
        raise BadPrompt(
            f"{shown:.80} is not just a column's name: what stands in braces may have none of the marks . [ ] ! and :, "
            f"so name the column otherwise. {HINT}"
        )
    return name.strip()


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, and the params of its requests. `schema` is the JSON Schema that each answer must fit.

    `delimiter` separates the table's cells, a key of `csv_table.DELIMITERS`; if empty, it is guessed. `name_by` is the
    column whose text names the requests; if empty, it is `custom_id`. With `keep_cells` each row is kept with its
    request, for the export.
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
        """Return the body of the Messages call about a row; raise ValueError if the prompt would be empty."""
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
    """Read an output schema; raise BadPrompt unless it is a JSON Schema (a JSON object, without jsonschema)."""
    try:
        schema = decoded(text.encode())
    except ValueError as error:
        raise BadPrompt(f"The output schema is {error}.") from None
    if not isinstance(schema, dict):
        raise BadPrompt('The output schema is not a JSON object like {"type": "object", …}.')
    if problem := schema_problem(schema):
        raise BadPrompt(f"The output schema {problem}.")
    return schema
