"""One batch of the emulator, and the frozen snapshot of it that tests read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from .identifiers import Identifiers
from .lines import Line, line_for, unprocessed_line
from .replies import Replies, Reply, ask, tag_length
from .validation.params import Failure, Terms, judge

# How long after `created_at` requests may start (§4).
WINDOW = timedelta(hours=24)

# How long after `created_at`, not `ended_at`, results can be fetched (§4).
RESULTS_LAST = timedelta(days=29)

OUTCOMES = ("succeeded", "errored", "canceled", "expired")


@dataclass(frozen=True)
class BatchSnapshot:
    """A batch at the time of the call. Timestamps are aware datetimes; `requests` are as received.

    A `stranger` was made by `ClaudeEmulator.add_stranger`, not by a call.
    """

    id: str
    workspace_id: str
    anthropic_version: str
    betas: tuple[str, ...]
    user_profile_id: str | None
    processing_status: str
    request_counts: dict[str, int]
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    archived_at: datetime | None
    cancel_initiated_at: datetime | None
    deleted: bool
    requests: list[dict[str, Any]] = field(repr=False)
    stranger: bool = False

    @property
    def custom_ids(self) -> list[str]:
        return [request["custom_id"] for request in self.requests]


@dataclass(eq=False, repr=False, kw_only=True)
class Batch:
    """A batch's state and how it changes. `World` holds the lock and decides when."""

    requests: list[dict[str, Any]]
    random: Random
    workspace_id: str
    terms: Terms
    created_at: datetime
    seen_from: datetime
    stranger: bool
    tag_length: int
    processing_status: str = "in_progress"
    ended_at: datetime | None = None
    archived_at: datetime | None = None
    cancel_initiated_at: datetime | None = None
    deleted: bool = False
    raised: BaseException | None = None
    lines: list[Line] = field(default_factory=list)
    tally: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))

    def __post_init__(self) -> None:
        self._identifiers = Identifiers(self.random)
        self.id = self._identifiers.batch()
        self.expires_at = self.created_at + WINDOW

    def process(self, share: float, replies: Replies) -> None:
        """Check and answer requests, in their order, until this `share` (0 to 1) of them is done.

        Exceptions of `replies` propagate: the batch stays unchanged, and the next call continues where it stopped.
        """
        until = int(len(self.requests) * share)
        for index in range(len(self.lines), until):
            request = self.requests[index]
            self._add(line_for(request, self._outcome(request, index, replies), self._identifiers))

    def _outcome(self, request: dict[str, Any], index: int, replies: Replies) -> Reply | Failure:
        params, wire_id = request["params"], request["custom_id"]
        try:
            failure = judge(params, self.terms)
        except Exception as error:  # noqa: BLE001 (unexpected params affect their own line only)
            failure = Failure(message=f"The emulator failed: {type(error).__name__}: {error}")
        return failure or ask(replies, params, wire_id[self.tag_length :], index=index, wire_id=wire_id)

    def end(self, at: datetime, *, rest: str = "canceled") -> None:
        """End the batch: unprocessed requests become `rest` ("canceled" or "expired"), and lines are shuffled."""
        for request in self.requests[len(self.lines) :]:
            self._add(unprocessed_line(request["custom_id"], rest))
        self.random.shuffle(self.lines)
        self.processing_status = "ended"
        self.ended_at = at

    def cancel(self, at: datetime) -> None:
        self.processing_status = "canceling"
        self.cancel_initiated_at = at

    def archive(self, at: datetime) -> None:
        self.archived_at = at
        self.lines = []

    def delete(self) -> None:
        self.deleted = True
        self.lines = []

    def _add(self, line: Line) -> None:
        self.lines.append(line)
        self.tally[line.type] += 1

    def birth(self) -> dict[str, Any]:
        """Return what never changes, for the journal."""
        return {
            "id": self.id,
            "workspace_id": self.workspace_id,
            "terms": list(self.terms),
            "created_at": self.created_at.isoformat(),
            "seen_from": self.seen_from.isoformat(),
            "stranger": self.stranger,
            "tag_length": self.tag_length,
            "requests": self.requests,
        }

    @classmethod
    def reborn(cls, birth: dict[str, Any], *, random: Random) -> Batch:
        version, betas, user_profile_id = birth["terms"]
        batch = cls(
            requests=birth["requests"],
            random=random,
            workspace_id=birth["workspace_id"],
            terms=Terms(version, tuple(betas), user_profile_id),
            created_at=datetime.fromisoformat(birth["created_at"]),
            seen_from=datetime.fromisoformat(birth["seen_from"]),
            stranger=birth["stranger"],
            # Older state files lack it.
            tag_length=birth["tag_length"] if "tag_length" in birth else tag_length(birth["requests"]),
        )
        batch.id = birth["id"]
        return batch

    def state(self) -> dict[str, Any]:
        """Return what changes, for the journal."""
        moments = {name: getattr(self, name) for name in ("ended_at", "archived_at", "cancel_initiated_at")}
        return {
            "id": self.id,
            "processing_status": self.processing_status,
            "moments": {name: moment and moment.isoformat() for name, moment in moments.items()},
            "deleted": self.deleted,
            "tally": self.tally,
            "lines": [[line.custom_id, line.type, line.raw.decode()] for line in self.lines],
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Restore the state that `state` returned."""
        self.processing_status = state["processing_status"]
        for name, moment in state["moments"].items():
            setattr(self, name, moment and datetime.fromisoformat(moment))
        self.deleted = state["deleted"]
        self.tally = state["tally"]
        self.lines = [Line(custom_id, type_, raw.encode()) for custom_id, type_, raw in state["lines"]]

    def snapshot(self, *, progressive_counts: bool) -> BatchSnapshot:
        same = {name: value for name, value in vars(self).items() if name in BatchSnapshot.__dataclass_fields__}
        return BatchSnapshot(
            anthropic_version=self.terms.version,
            betas=self.terms.betas,
            user_profile_id=self.terms.user_profile_id,
            request_counts=self._counts(progressive=progressive_counts),
            **same,
        )

    def _counts(self, *, progressive: bool) -> dict[str, int]:
        """Return the counts. The four terminal ones are 0 until the batch has ended (§3.1), unless `progressive`."""
        if self.ended_at or progressive:
            return {"processing": len(self.requests) - sum(self.tally.values())} | self.tally
        return {"processing": len(self.requests)} | dict.fromkeys(self.tally, 0)
