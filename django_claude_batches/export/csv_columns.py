"""The columns of one CSV file: `cells.COLUMNS`, with `cells` and `output` replaced by what the batches have."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django_claude_batches.db.keyset import chunked
from django_claude_batches.export.cells import CELLS, COLUMNS, OUTPUT, Cell, Row
from django_claude_batches.models.batch.batch import MessageBatch
from django_claude_batches.models.request import BatchRequest
from django_claude_batches.models.result import text_of
from django_claude_batches.output_schema.errors import InvalidOutput
from django_claude_batches.output_schema.json_text import decoded, unfenced

# Prefix of a column in `cells.COLUMNS` whose name the uploaded file has too, and of a member of answers whose name is
# already used.
OURS, ANSWERS = "claude_", "answer_"


@dataclass(frozen=True, slots=True)
class Block:
    """Adjacent columns: their titles, the values that are read, and the function that returns their cells."""

    titles: tuple[str, ...]
    needs: tuple[str, ...]
    values: Callable[[Row], Sequence[Cell]]


def blocks(names: Sequence[str], batches: Sequence[int]) -> list[Block]:
    """Return the columns of a CSV with the results of these batches.

    Columns of uploaded files keep their names; if the files differ, their columns are side by side. If a column of
    `cells.COLUMNS` has the same name as one of these, its name becomes `claude_…`. If a member of answers has the same
    name as any other column, its name becomes `answer_…`.
    """
    headers = headers_of(batches) if CELLS in names else {}
    fields = output_fields(batches) if OUTPUT in names else ()
    uploaded = {title for header in headers.values() for title in header}
    taken = uploaded | {_unlike(uploaded, name, OURS) for name in names}
    found: list[Block] = []
    for name in names:
        if name == CELLS:
            found += [_uploaded(header, headers) for header in dict.fromkeys(headers.values())]
        elif name == OUTPUT:
            found += [_fields(fields, taken)] if fields else []
        else:
            column = COLUMNS[name]
            found.append(Block((_unlike(uploaded, name, OURS),), column.needs, lambda row, of=column.value: [of(row)]))  # type: ignore[misc]
    return found


def headers_of(batches: Iterable[int]) -> dict[int, tuple[str, ...]]:
    """Return the header of each batch that was made from a table and has its cells."""
    rows = MessageBatch.objects.primary().order_by("pk").values_list("pk", "cells_header")
    found = (row for chunk in chunked(batches) for row in rows.filter(pk__in=chunk))
    return {pk: tuple(header) for pk, header in found if header}


def output_fields(batches: Iterable[int]) -> tuple[str, ...]:
    """Return the names of the members that the JSON Schemas in the batches' first requests have."""
    rows = BatchRequest.objects.primary().filter(position=0)
    asked = (rows.filter(batch=pk).values_list("params_text", flat=True).first() for pk in batches)
    return tuple(dict.fromkeys(name for params in asked for name in _members(params or "")))


def _members(params: str) -> Iterator[str]:
    if '"output_config"' not in params:
        return
    found: Any = json.loads(params)
    for key in ("output_config", "format", "schema", "properties"):
        found = found.get(key) if isinstance(found, dict) else None
    yield from found if isinstance(found, dict) else ()


def _uploaded(header: tuple[str, ...], headers: dict[int, tuple[str, ...]]) -> Block:
    empty = [""] * len(header)

    def values(row: Row) -> Sequence[Cell]:
        text = row["request__cells_text"]
        if text is None or headers.get(row["batch_id"]) != header:
            return empty
        return [*json.loads(text), *empty][: len(header)]

    return Block(header, ("batch_id", "request__cells_text"), values)


def _fields(names: tuple[str, ...], taken: set[str]) -> Block:
    def values(row: Row) -> Sequence[Cell]:
        answer = row["output"] if row["output"] is not None else _decoded(row["message_text"])
        return [_cell(answer.get(name)) if isinstance(answer, dict) else None for name in names]

    return Block(tuple(_unlike(taken, name, ANSWERS) for name in names), ("output", "message_text"), values)


def _decoded(message: str | None) -> Any:
    """Return the answer's JSON; None if it is not JSON, such as a truncated answer."""
    try:
        return decoded(unfenced(text_of(json.loads(message or "null"))))
    except (InvalidOutput, RecursionError):
        return None


def _cell(value: Any) -> Cell:
    if value is None or isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    return json.dumps(value, ensure_ascii=False)


def _unlike(taken: set[str], name: str, prefix: str) -> str:
    while name in taken:
        name = f"{prefix}{name}"
    return name
