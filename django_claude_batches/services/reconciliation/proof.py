"""Opening the results of a batch to see whose it is: the tags of its lines prove it, and nothing else does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from django_claude_batches.client import BatchesClient
from django_claude_batches.drafting.request import TAG_LENGTH
from django_claude_batches.exceptions import APITimeoutError, ClaudeBatchesError
from django_claude_batches.models import BatchResult, MessageBatch, SubmitAttempt
from django_claude_batches.services.ingestion.result_lines import parse

PROOF_LINES = 20
"""Well-formed lines to look at for a tag: every line of a batch of ours bears it."""

MAX_BAD_LINES = 1000

READ_SECONDS = 90.0
"""How long one reading may take: with its opening, a silence and the round that it ends, less than a lease."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the first lines of a batch's results say.

    `attempt` is the one whose tag they bear. Without one, `lines` well-formed ones came; `digest` is there if these
    were all of a body that came whole. `why` says what kept it from being read.
    """

    attempt: SubmitAttempt | None = None
    lines: int = 0
    digest: str = ""
    why: str = ""

    @property
    def is_foreign(self) -> bool:
        """Whether that is enough to say that another call made it."""
        return self.attempt is None and self.lines >= PROOF_LINES


def read(client: BatchesClient, remote_id: str) -> Reading:
    """Read up to 20 well-formed lines of an ended batch, then hang up."""
    custom_ids: list[str] = []
    bad, digest, failure = 0, "", ""
    try:
        with client.result_body(remote_id, on_read=_read_deadline(READ_SECONDS)) as body:
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


def _read_deadline(seconds: float) -> Callable[[], None]:
    give_up_at = time.monotonic() + seconds

    def check() -> None:
        if time.monotonic() > give_up_at:
            words = f"its first results did not come within {seconds:g} s"
            raise APITimeoutError(words, sent=True)

    return check


def read_rows(batch: MessageBatch) -> Reading:
    """Judge a complete batch that was adopted by its rows here: these are all that there is."""
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
