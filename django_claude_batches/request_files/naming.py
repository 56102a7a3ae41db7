"""Make custom_ids for the requests of a table from a column with any text."""

from __future__ import annotations

import re

from django_claude_batches.drafting.request import MAX_OUR_CUSTOM_ID
from django_claude_batches.wire import MAX_REQUESTS

# Maximum characters of a cell in a custom_id, which leaves room for the number of the row.
MAX_OF_CELL = 40

_ILLEGAL = re.compile(r"[^a-zA-Z0-9_-]+")


class Names:
    """The custom_ids of a table's requests. Memory is bounded by what a batch may hold.

    A cell with at most 40 characters, all of them allowed in a custom_id, is used unchanged. If the cell has to be
    changed, or was used before, the custom_id ends with the number of the row.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, cell: str, number: int) -> str:
        """Return a custom_id for the row with this cell and number that no earlier row has."""
        text = cell.strip()
        legal = _ILLEGAL.sub("-", text).strip("-")[:MAX_OF_CELL] if _is_changed(text) else text
        ending = f"-{number}"
        stem = legal or "row"
        name = text if legal == text and text else f"{stem}{ending}"
        while name in self._taken:
            # A name such as `a-7` may also be the cell of an earlier row.
            name, ending = f"{stem[: MAX_OUR_CUSTOM_ID - len(ending)]}{ending}", f"{ending}-{number}"
            if len(ending) > MAX_OUR_CUSTOM_ID:
                break  # the check reports the repeated name
        if len(self._taken) <= MAX_REQUESTS:  # a file with more rows is refused
            self._taken.add(name)
        return name


def _is_changed(text: str) -> bool:
    return len(text) > MAX_OF_CELL or bool(_ILLEGAL.search(text))
