"""The six endpoints: from a received request to the response, around the world's rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from . import errors
from .batch import BatchSnapshot
from .downloads import Download, Outgoing
from .exchange import Request, Response, as_json, asked, refused
from .intake import read_requests
from .judging import Terms
from .keys import Keys
from .ledger import Ledger
from .world import World

VERSIONS = ("2023-06-01", "2026-10-21")


@dataclass(frozen=True)
class Call:
    """A request whose key and version were taken."""

    request: Request
    workspace_id: str
    version: str
    batch_id: str


class Routes:
    """Answers requests. `base_url` is where `results_url` points."""

    def __init__(
        self,
        world: World,
        keys: Keys,
        *,
        base_url: str,
        require_version: bool,
        max_requests: int,
        ledger: Ledger,
    ) -> None:
        self._world = world
        self._keys = keys
        self._base_url = base_url
        self._require_version = require_version
        self._max_requests = max_requests
        self._ledger = ledger
        self._handlers: dict[str, Callable[[Call], Response]] = {
            "create": self._create,
            "retrieve": self._retrieve,
            "list": self._list,
            "cancel": self._cancel,
            "delete": self._delete,
            "results": self._results,
        }

    def respond(self, request: Request) -> Response:
        """Return the response to `request`. Whatever is wrong with it is a response too."""
        headers = {"request-id": self._world.identifiers.request()}
        try:
            return self._answer(request, headers)
        except errors.Refusal as refusal:
            return refused(refusal, headers)
        except Exception as error:  # noqa: BLE001  the caller waits for a response whatever a test's `replies` raised
            return refused(errors.emulator_failed(error), headers)

    def _answer(self, request: Request, headers: dict[str, str]) -> Response:
        verb, batch_id = asked(request)
        workspace_id = self._keys.workspace_for(request.headers)
        # Only after the key is known: failures before that do not name the Workspace (§2.2).
        headers |= {"anthropic-organization-id": self._world.organization_id, "anthropic-workspace-id": workspace_id}
        response = self._handlers[verb](Call(request, workspace_id, self._version(request), batch_id))
        return replace(response, headers=headers | response.headers, batch_id=response.batch_id or batch_id or None)

    def _version(self, request: Request) -> str:
        version = request.headers.get("anthropic-version")
        if version is None:
            if self._require_version:
                raise errors.version_missing()
            return VERSIONS[0]
        if version not in VERSIONS:
            raise errors.version_unknown(version)
        return version

    def _create(self, call: Call) -> Response:
        request = call.request
        encoding = request.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise errors.encoding_unsupported(encoding)
        if request.body is None:
            raise errors.body_too_large()
        requests = read_requests(request.body, max_requests=self._max_requests)
        betas = (beta.strip() for beta in request.headers.get("anthropic-beta", "").split(","))
        terms = Terms(call.version, tuple(filter(None, betas)), request.headers.get("anthropic-user-profile-id"))
        batch = self._world.create(
            requests,
            workspace_id=call.workspace_id,
            terms=terms,
            lands_in=request.lands_in,
            seen_in=request.seen_in,
        )
        return replace(self._shown(batch), batch_id=batch.id)

    def _retrieve(self, call: Call) -> Response:
        batch = self._world.retrieve(call.batch_id, workspace_id=call.workspace_id)
        # A hint on a 200: "ask again in 10 seconds" (§1).
        hint = {"retry-after": "10"} if batch.processing_status == "in_progress" else {}
        return self._shown(batch, headers=hint)

    def _list(self, call: Call) -> Response:
        query = call.request.query
        after_id, before_id = query.get("after_id"), query.get("before_id")
        if after_id is not None and before_id is not None:
            raise errors.invalid("after_id: cannot be used together with before_id")
        limit = _limit(query.get("limit", "20"))
        page = self._world.page(workspace_id=call.workspace_id, limit=limit, after_id=after_id, before_id=before_id)
        data = [self._batch(batch) for batch in page.data]
        ids = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
        return as_json({"data": data, "has_more": page.has_more} | ids)

    def _cancel(self, call: Call) -> Response:
        return self._shown(self._world.cancel(call.batch_id, workspace_id=call.workspace_id))

    def _delete(self, call: Call) -> Response:
        self._world.delete(call.batch_id, workspace_id=call.workspace_id)
        return as_json({"id": call.batch_id, "type": "message_batch_deleted"})

    def _results(self, call: Call) -> Response:
        lines = self._world.results(call.batch_id, workspace_id=call.workspace_id)
        download = Download(call.batch_id, call.workspace_id, self._world.clock.now())
        self._ledger.begun(download)
        return Response(200, {"content-type": "application/x-jsonl"}, Outgoing(lines, download, self._ledger.ended))

    def _shown(self, batch: BatchSnapshot, *, headers: dict[str, str] | None = None) -> Response:
        return as_json(self._batch(batch), headers=headers)

    def _batch(self, batch: BatchSnapshot) -> dict[str, Any]:
        """Return the MessageBatch object: the API's ten fields, in its order (§3.1)."""
        ended = batch.processing_status == "ended"
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": batch.processing_status,
            "request_counts": batch.request_counts,
            "created_at": _timestamp(batch.created_at),
            "expires_at": _timestamp(batch.expires_at),
            "ended_at": _timestamp(batch.ended_at),
            "archived_at": _timestamp(batch.archived_at),
            "cancel_initiated_at": _timestamp(batch.cancel_initiated_at),
            "results_url": f"{self._base_url}/v1/messages/batches/{batch.id}/results" if ended else None,
        }


def _limit(text: str) -> int:
    """Return the page size asked for, 1 to 1000. The texts of its refusals are inferred (§5.3)."""
    try:
        limit = int(text)
    except ValueError:
        raise errors.invalid("limit: Input should be a valid integer, unable to parse string as an integer") from None
    if limit < 1:
        raise errors.invalid("limit: Input should be greater than or equal to 1")
    if limit > 1000:
        raise errors.invalid("limit: Input should be less than or equal to 1000")
    return limit


def _timestamp(moment: datetime | None) -> str | None:
    """Return RFC 3339 as on the wire: `+00:00`, six decimals (§3.1)."""
    return None if moment is None else moment.isoformat(timespec="microseconds")
