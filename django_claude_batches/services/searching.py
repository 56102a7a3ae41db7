"""Looking at Anthropic for batches whose create call got no answer: what is there, and whose it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from django_claude_batches import wire
from django_claude_batches.client import BatchesClient, Line, Reply
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.models import BatchResult, SubmitAttempt
from django_claude_batches.models.drafting import TAG_LENGTH
from django_claude_batches.services.connection import fingerprint
from django_claude_batches.services.lines import parse
from django_claude_batches.services.mirroring import moment, total

PAGES = 50
"""Pages of a thousand in one search; a search that would need more proves nothing."""

PROOF_LINES = 20
"""Well-formed lines to look at for a tag: every line of a batch of ours bears it."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What Anthropic lists back to an attempt's baseline; full only if nothing can be missing from it."""

    batches: list[wire.MessageBatch]
    is_full: bool
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whose a batch is, by its first lines: an attempt's, nobody's of ours (excluded), or not known."""

    attempt: SubmitAttempt | None = None
    is_excluded: bool = False
    why: str = ""


def list_since(client: BatchesClient, attempt: SubmitAttempt, alias: str) -> Listing:
    """List the batches that are newer than the attempt's baseline.

    Full is a listing that reached the baseline itself. One that reached only what is older, or the end, may be that of
    another Workspace: it is full if the server names the attempt's, or, where either names none, if it was reached in
    the same way: the same server, by the same key.
    """
    found: list[wire.MessageBatch] = []
    after_id: str | None = None
    for _page in range(PAGES):
        reply = client.page(limit=wire.MAX_PAGE, after_id=after_id)
        for data in reply.data["data"]:
            if data["id"] == attempt.baseline_id:
                return Listing(found, is_full=True)
            created_at = moment(data["created_at"])
            if attempt.baseline_created_at and created_at and created_at < attempt.baseline_created_at:
                return _unless_elsewhere(found, attempt, alias, reply)
            found.append(data)
        after_id = reply.data["last_id"]
        if not reply.data["has_more"] or not after_id:
            return _unless_elsewhere(found, attempt, alias, reply)
    return Listing(found, is_full=False, why_not=f"more than {PAGES * wire.MAX_PAGE:,} batches are newer than the call")


def _unless_elsewhere(
    found: list[wire.MessageBatch], attempt: SubmitAttempt, alias: str, reply: Reply[wire.Page]
) -> Listing:
    if is_same_workspace(attempt, alias, reply):
        return Listing(found, is_full=True)
    why_not = "the listing may be of another Workspace or server than it was sent to"
    return Listing(found, is_full=False, why_not=why_not)


def is_same_workspace(attempt: SubmitAttempt, alias: str, reply: Reply[wire.Page]) -> bool:
    if attempt.workspace_id and reply.workspace_id:
        return bool(attempt.workspace_id == reply.workspace_id)
    return attempt.account_fingerprint == fingerprint(alias)


def judge(client: BatchesClient, data: wire.MessageBatch) -> Verdict:
    """Read the first lines of a batch until one bears the tag of any attempt of ours; then hang up.

    It is excluded only after 20 well-formed lines without one, or all of a shorter body that came whole: empty, cut or
    unreadable results prove nothing. As many lines as it has requests are not all of it: lines that answer none may
    stand before those that do.
    """
    if data["processing_status"] != "ended":
        return Verdict(why=f"it is {data['processing_status']}: only its results can prove whose it is")
    seen = 0
    failure = ""
    try:
        with client.result_lines(data["id"]) as lines:
            for custom_id in islice(_custom_ids(lines), PROOF_LINES):
                seen += 1
                attempt = _attempt_of(custom_id)
                if attempt is not None:
                    return Verdict(attempt=attempt, why=f"it bears the tag of attempt {attempt.number}")
    except ClaudeBatchesError as error:
        failure = str(error)
    came_whole = not failure and 0 < total(data) <= seen
    if seen >= PROOF_LINES or came_whole:
        return Verdict(is_excluded=True, why="its first results bear no tag of ours: another call made it")
    return Verdict(why=failure or "its results cannot be read, which proves nothing")


def _attempt_of(custom_id: str) -> SubmitAttempt | None:
    tag, separator, _rest = custom_id.partition("_")
    if len(tag) != TAG_LENGTH or not separator:
        return None
    return SubmitAttempt.objects.primary().filter(tag=tag).first()


def _custom_ids(lines: Iterable[Line]) -> Iterator[str]:
    for line in lines:
        row = parse(line)
        if isinstance(row, BatchResult):
            yield row.custom_id
