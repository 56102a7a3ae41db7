"""The columns of a CSV export, and the escaping of formulas. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django_claude_batches.models.batch.batch import MessageBatch
from django_claude_batches.models.result import text_of

Cell = str | int | None
Row = Mapping[str, Any]

# Characters that a spreadsheet may skip before a formula: spaces, quotes, and invisible characters.
_SKIPPED = r'["\x00-\x08\x0b\x0c\x0e-\x20\x7f-\xa0\xad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]*+'

_FORMULA = rf"{_SKIPPED}[=+\-@\uff1d\uff0b\uff0d\uff20]"
_AT_ITS_BEGINNING = re.compile(rf"[\t\r\n]|{_FORMULA}")
# A "-" at the beginning of a later line is not escaped: it usually begins an item of a list.
_INSIDE = re.compile(rf"([\t;](?={_FORMULA})|[\r\n](?={_SKIPPED}[=+@\uff1d\uff0b\uff20]))")


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `needs` names the values of the row that are read, from which `value` returns the cell."""

    needs: tuple[str, ...]
    value: Callable[[Row], Cell]
    # Whether the column is part of the request: viewing prompts needs another permission than viewing answers.
    is_of_request: bool = False


def escape_formula(cell: Cell) -> Cell:
    """Return the cell with an apostrophe before everything that a spreadsheet would run as a formula.

    The characters are those of OWASP (https://owasp.org/www-community/attacks/CSV_Injection). They are escaped at the
    beginning of the cell, and where a spreadsheet with another separator than the comma begins a cell: after a
    semicolon, a tab or a line end. After a line end, a "-" is not escaped. Numbers are returned unchanged.
    """
    if not isinstance(cell, str):
        return cell
    cell = _INSIDE.sub(r"\1'", cell)
    return f"'{cell}" if _AT_ITS_BEGINNING.match(cell) else cell


def _of(name: str) -> Column:
    return Column((name,), lambda row: row[name])


def _text(row: Row) -> str:
    return "" if row["message_text"] is None else text_of(json.loads(row["message_text"]))


def _cost(row: Row) -> Cell:
    cost: Decimal | None = row["cost_usd"]
    return None if cost is None else f"{cost.normalize():f}"


def _target_type(row: Row) -> Cell:
    app = row["request__content_type__app_label"]
    return None if app is None else f"{app}.{row['request__content_type__model']}"


# Names for several columns: those of the uploaded file, and the members of answers.
CELLS, OUTPUT = "cells", "output"

# All columns, in the order in which they are offered.
COLUMNS: dict[str, Column] = {
    "batch": Column(("batch_id",), lambda row: row["batch_id"]),
    "custom_id": _of("custom_id"),
    "target_type": Column(
        ("request__content_type__app_label", "request__content_type__model"), _target_type, is_of_request=True
    ),
    "target_id": Column(("request__object_id",), lambda row: row["request__object_id"], is_of_request=True),
    "params": Column(("request__params_text",), lambda row: row["request__params_text"], is_of_request=True),
    CELLS: Column(("request__cells_text",), lambda row: row["request__cells_text"], is_of_request=True),
    "text": Column(("message_text",), _text),
    OUTPUT: Column(("output",), lambda row: row["output"]),
    "result_type": _of("result_type"),
    "stop_reason": _of("stop_reason"),
    "model": _of("model"),
    "message": Column(("message_text",), lambda row: row["message_text"]),
    "input_tokens": _of("input_tokens"),
    "output_tokens": _of("output_tokens"),
    "cache_write_5m_tokens": _of("cache_write_5m_tokens"),
    "cache_write_1h_tokens": _of("cache_write_1h_tokens"),
    "cache_read_tokens": _of("cache_read_tokens"),
    "web_search_requests": _of("web_search_requests"),
    "service_tier": _of("service_tier"),
    "inference_geo": _of("inference_geo"),
    "cost_usd": Column(("cost_usd",), _cost),
    "error_type": _of("error_type"),
    "error_message": _of("error_message"),
    "error_request_id": _of("error_request_id"),
}

DEFAULT_COLUMNS = (
    *("custom_id", "target_type", "target_id", "cells", "text", "output", "result_type", "stop_reason", "model"),
    *("input_tokens", "output_tokens", "cost_usd", "error_type", "error_message"),
)


def default_columns(batch: MessageBatch) -> list[str]:
    """Return the default columns of a batch's CSV. A batch made from a table has its cells instead of targets."""
    return [name for name in DEFAULT_COLUMNS if not batch.cells_header or not name.startswith("target_")]
