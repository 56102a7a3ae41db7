"""What erasing one row of the project did, what it could not do, and which copies remain at Anthropic."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RemoteCopy:
    """A batch whose request, answer or both are still at Anthropic; `until` is None while the batch runs there.

    `anthropic_id` is empty for a batch that was given up: it is unknown whether Anthropic received it. One with
    `is_second` was made by another create call for the same batch: `delete_remote` deletes it once it is adopted.
    """

    batch: int
    anthropic_id: str
    until: datetime | None
    is_second: bool = False


@dataclass(slots=True)
class Erasure:
    """What was erased about one row, what was not, and where copies remain.

    `requests` counts the requests that were emptied, with their answers; `from_drafts` those removed from batches that
    were not sent; `before` those that had been erased already. `refused` lists why something could not be erased,
    `leased` where to try again in a moment. `copies` are at Anthropic: `delete_remote` deletes such a batch there.
    """

    target: str
    requests: int = 0
    from_drafts: int = 0
    before: int = 0
    refused: list[str] = field(default_factory=list)
    leased: list[str] = field(default_factory=list)
    copies: list[RemoteCopy] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Return whether everything was erased from the database."""
        return not self.refused and not self.leased
