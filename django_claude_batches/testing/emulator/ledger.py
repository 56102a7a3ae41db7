"""Record what the emulator received and sent: the requests and the downloads, also as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .batch import BatchSnapshot
from .downloads import Download
from .journal import Journal
from .lines import Line

SECRET = frozenset({"authorization", "x-api-key"})


@dataclass(frozen=True)
class ReceivedRequest:
    """A request in the log. `body_bytes` is the size of its body; `body` is None if that is more than 1,000,000 bytes.

    `sha256` is the digest of the body, in hexadecimal. `status` is the status that was sent, 0 if none was. `answer` is
    how the emulator sent the answer: "whole", "cut" or "lost"; how much reached a client that disconnected is not
    known. `batch_id` is the batch that was made or requested; a refused call has none. `faults` are the names of the
    faults that applied.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body_bytes: int
    body: bytes | None
    at: datetime
    status: int
    request_id: str
    sha256: str = ""
    answer: str = "whole"
    batch_id: str | None = None
    faults: tuple[str, ...] = ()


class Ledger:
    """Stores both lists, in memory and in the journal. The journal contains no keys, and only a body's digest."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.requests: list[ReceivedRequest] = []
        self.downloads: list[Download] = []

    def received(self, request: ReceivedRequest) -> None:
        if self._journal.kept:  # first: what the ledger shows must survive a kill
            self._journal.write("request", _request(request))
        self.requests.append(request)

    def begun(self, download: Download) -> None:
        self.downloads.append(download)

    def ended(self, download: Download) -> None:
        if self._journal.kept:
            lines = [[line.custom_id, line.type, line.raw.decode(errors="surrogateescape")] for line in download.lines]
            self._journal.write("download", vars(download) | {"at": download.at.isoformat(), "lines": lines})

    def recall(self, kind: str, entry: dict[str, Any]) -> None:
        """Restore an entry of the journal."""
        at = {"at": datetime.fromisoformat(entry["at"])} if "at" in entry else {}
        if kind == "request":
            self.requests.append(ReceivedRequest(**(entry | at | {"body": None, "faults": tuple(entry["faults"])})))
        elif kind == "download":
            lines = [Line(name, type_, raw.encode(errors="surrogateescape")) for name, type_, raw in entry["lines"]]
            self.downloads.append(Download(**(entry | at | {"lines": lines})))

    def told(self, batches: list[BatchSnapshot]) -> dict[str, Any]:
        """Return all of it as JSON: see `ClaudeEmulator.ledger`."""
        requests = [_request(request) for request in list(self.requests)]
        return {
            "batches": [_batch(batch) for batch in batches],
            "batches_by_tag": dict(Counter(tag_of(batch.custom_ids) for batch in batches if not batch.stranger)),
            "creates": [request for request in requests if _is_create(request)],
            "downloads": [_download(download) for download in list(self.downloads)],
            "requests": requests,
        }


def tag_of(custom_ids: list[str]) -> str:
    """Return the part before the first underscore if all the ids have the same, otherwise ""."""
    tags = {custom_id.partition("_")[0] if "_" in custom_id else "" for custom_id in custom_ids}
    return tags.pop() if len(tags) == 1 else ""


def _request(request: ReceivedRequest) -> dict[str, Any]:
    told = {name: value for name, value in vars(request).items() if name != "body"}
    headers = {name: "(redacted)" if name in SECRET else value for name, value in request.headers.items()}
    return told | {"headers": headers, "at": request.at.isoformat(), "faults": list(request.faults)}


def _is_create(request: dict[str, Any]) -> bool:
    return bool(request["method"] == "POST" and request["path"] == "/v1/messages/batches")


def _batch(batch: BatchSnapshot) -> dict[str, Any]:
    return {
        "id": batch.id,
        "workspace_id": batch.workspace_id,
        "created_at": batch.created_at.isoformat(),
        "processing_status": batch.processing_status,
        "request_counts": batch.request_counts,
        "request_count": len(batch.requests),
        "tag": tag_of(batch.custom_ids),
        "stranger": batch.stranger,
        "deleted": batch.deleted,
    }


def _download(download: Download) -> dict[str, Any]:
    return {
        "batch_id": download.batch_id,
        "at": download.at.isoformat(),
        "complete": download.complete,
        "custom_ids": [line.custom_id for line in download.lines],
    }
