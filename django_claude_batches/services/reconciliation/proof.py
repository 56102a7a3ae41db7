"""Read the first results of a remote batch: a tag in its custom_ids proves which attempt made it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from django_claude_batches.client import BatchesClient
from django_claude_batches.drafting.request import TAG_LENGTH
from django_claude_batches.exceptions import APITimeoutError, ClaudeBatchesError
from django_claude_batches.models import BatchResult, MessageBatch, SubmitAttempt
from django_claude_batches.services.ingestion.result_lines import parse

# Well-formed lines that are searched for a tag: every line of a batch that this app sent has one.
PROOF_LINES = 20

MAX_BAD_LINES = 1000

# Maximum time of one read: with opening, a timeout and the round that it ends, less than a lease.
READ_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What the first lines of a batch's results show.

    `attempt` is the one whose tag they contain. Without one, `lines` counts well-formed lines; `digest` is set if these
    were all lines of a complete body. `why` says why it could not be read.
    """

    attempt: SubmitAttempt | None = None
    lines: int = 0
    digest: str = ""
    why: str = ""

    @property
    def is_foreign(self) -> bool:
        """Return whether this proves that another call made the batch."""
        return self.attempt is None and self.lines >= PROOF_LINES


def read(client: BatchesClient, remote_id: str) -> Reading:
    """Read up to 20 well-formed lines of an ended batch, then close the connection."""
    custom_ids: list[str] = []
    bad, digest, failure = 0, "", ""
    give_up_at = time.monotonic() + READ_SECONDS

    def check_time() -> None:
        if time.monotonic() > give_up_at:
            raise APITimeoutError(f"its first results did not come within {READ_SECONDS:g} s", sent=True)

    try:
        with client.result_body(remote_id, on_read=check_time) as body:
            for line in body:
                row = parse(line)
                bad += not isinstance(row, BatchResult)
                if isinstance(row, BatchResult):
                    custom_ids.append(row.custom_id)
                if len(custom_ids) >= PROOF_LINES or bad >= MAX_BAD_LINES:
                    break
            if body.is_complete and custom_ids and not bad:
                digest = body.digest
    except ClaudeBatchesError as error:
        failure = str(error)
    return Reading(_owner(custom_ids), len(custom_ids), digest, failure or _why(len(custom_ids), bad, digest))


def read_rows(batch: MessageBatch) -> Reading:
    """Evaluate a complete adopted batch by its rows: they are all of its results."""
    results = BatchResult.objects.primary().filter(batch=batch).order_by("pk")
    custom_ids = list(results.values_list("custom_id", flat=True)[:PROOF_LINES])
    return Reading(_owner(custom_ids), PROOF_LINES if custom_ids else 0, why="" if custom_ids else "it has no results")


def _owner(custom_ids: list[str]) -> SubmitAttempt | None:
    parts = (custom_id.partition("_") for custom_id in custom_ids)
    tags = {tag for tag, separator, _rest in parts if separator and len(tag) == TAG_LENGTH}
    return SubmitAttempt.objects.primary().filter(tag__in=tags).order_by("pk").first() if tags else None


def _why(lines: int, bad: int, digest: str) -> str:
    if digest:
        return "its few results bear no tag of ours: read once more in ten minutes, to be sure that these are all"
    if bad or not lines:
        return "its results cannot be read, which proves nothing"
    return "nothing says that its few results came whole"
