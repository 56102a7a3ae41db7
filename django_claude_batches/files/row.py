from __future__ import annotations

from typing import Any, NamedTuple


class Row(NamedTuple):
    """A row of a file by its number, as whoever opens the file counts: its request, or why it is none.

    The request is an item for `create_draft`, which has its own say about it.
    """

    number: int
    request: Any = None
    problem: str = ""
