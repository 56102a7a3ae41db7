"""The columns of one CSV file: those of `cells.COLUMNS`, and in place of two of them as many as the batches have."""

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

# What precedes the name of a column of ours that the uploaded file has too, and of a member of answers that either has.
OURS, ANSWERS = "claude_", "answer_"


@dataclass(frozen=True, slots=True)
class Block:
    """Columns side by side: their titles, what is read for them, and the function that returns their cells."""

    titles: tuple[str, ...]
    needs: tuple[str, ...]
    values: Callable[[Row], Sequence[Cell]]


def blocks(names: Sequence[str], batches: Sequence[int]) -> list[Block]:
    """Return the columns of a CSV with these results' batches.

    Those of uploaded files keep their names, side by side where files differ. A column of ours that has the name of one
    of these is called `claude_…`, and a member of answers that has the name of any of them `answer_…`.
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
    """Return the header of each batch that was made of a table whose cells were kept."""
    rows = MessageBatch.objects.primary().order_by("pk").values_list("pk", "cells_header")
    found = (row for chunk in chunked(batches) for row in rows.filter(pk__in=chunk))
    return {pk: tuple(header) for pk, header in found if header}


def output_fields(batches: Iterable[int]) -> tuple[str, ...]:
    """Return the members of the answers that the batches' first requests ask for by a JSON Schema."""
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
    """Return the answer's JSON; None if it is none, as one that was cut off."""
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
