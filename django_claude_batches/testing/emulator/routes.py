"""The endpoints: from a received request to the response."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from . import errors, other_endpoints
from .auth import Keys
from .batch import BatchSnapshot
from .downloads import Download, Outgoing
from .http_messages import Request, Response, as_json, asked, refused
from .ledger import Ledger
from .replies import tag_length
from .validation.create import read_requests
from .validation.params import Terms
from .world import World

# The prefix of the `User-Agent` of the app's own client. Another client's ids may look as if they had a tag.
APP = "django-claude-batches/"

VERSIONS = ("2023-06-01", "2026-10-21")


@dataclass(frozen=True)
class Call:
    """A request whose key and version were accepted."""

    request: Request
    workspace_id: str
    version: str
    named: str

    @property
    def terms(self) -> Terms:
        headers = self.request.headers
        betas = (beta.strip() for beta in headers.get("anthropic-beta", "").split(","))
        return Terms(self.version, tuple(filter(None, betas)), headers.get("anthropic-user-profile-id"))


class Routes:
    """The API's endpoints."""

    def __init__(self, world: World, keys: Keys, ledger: Ledger, *, require_version: bool, max_requests: int) -> None:
        self.world = world
        self._keys = keys
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
            "count_tokens": lambda call: as_json(other_endpoints.token_count(call.request.body, call.terms)),
            "list_models": lambda call: as_json(other_endpoints.models(**_part(call))),
            "retrieve_model": lambda call: as_json(other_endpoints.model(call.named)),
        }

    def respond(self, request: Request) -> Response:
        """Return the response to `request`; errors are responses too."""
        headers = {"request-id": self.world.identifiers.request()}
        try:
            return self._answer(request, headers)
        except errors.Refusal as refusal:
            return refused(refusal, headers)
        except Exception as error:  # noqa: BLE001 (the caller waits for a response even if a test's `replies` raised)
            return refused(errors.emulator_failed(error), headers)

    def identity(self, request: Request) -> dict[str, str]:
        """Return the headers that identify the key's organization and Workspace; none if the key is not accepted."""
        try:
            return self._identity(self._keys.workspace_for(request.headers))
        except errors.Refusal:
            return {}

    def _identity(self, workspace_id: str) -> dict[str, str]:
        return {"anthropic-organization-id": self.world.organization_id, "anthropic-workspace-id": workspace_id}

    def _answer(self, request: Request, headers: dict[str, str]) -> Response:
        verb, named = asked(request)
        workspace_id = self._keys.workspace_for(request.headers)
        # Only after the key is known: failures before that do not name the Workspace (§2.2).
        headers |= self._identity(workspace_id)
        response = self._handlers[verb](Call(request, workspace_id, self._version(request), named))
        return replace(response, headers=headers | response.headers)

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
        batch = self.world.create(
            requests,
            workspace_id=call.workspace_id,
            terms=call.terms,
            lands_in=request.lands_in,
            seen_in=request.seen_in,
            tag_length=tag_length(requests) if request.headers.get("user-agent", "").startswith(APP) else 0,
        )
        return _shown(batch, call)

    def _retrieve(self, call: Call) -> Response:
        batch = self.world.retrieve(call.named, workspace_id=call.workspace_id)
        # A hint on a 200: "ask again in 10 seconds" (§1).
        hint = {"retry-after": "10"} if batch.processing_status == "in_progress" else {}
        return _shown(batch, call, headers=hint)

    def _list(self, call: Call) -> Response:
        page = self.world.page(workspace_id=call.workspace_id, **_part(call))
        return as_json(other_endpoints.page([_batch(batch, call) for batch in page.data], has_more=page.has_more))

    def _cancel(self, call: Call) -> Response:
        return _shown(self.world.cancel(call.named, workspace_id=call.workspace_id), call)

    def _delete(self, call: Call) -> Response:
        self.world.delete(call.named, workspace_id=call.workspace_id)
        deleted = as_json({"id": call.named, "type": "message_batch_deleted"})
        return replace(deleted, batch_id=call.named)

    def _results(self, call: Call) -> Response:
        lines = self.world.results(call.named, workspace_id=call.workspace_id)
        download = Download(call.named, call.workspace_id, self.world.clock.now())
        self._ledger.begun(download)
        headers = {
            "content-type": "application/x-jsonl",
            "content-disposition": f"attachment; filename*=utf-8''{call.named}_results.jsonl",
        }
        return Response(200, headers, Outgoing(lines, download, self._ledger.ended), batch_id=call.named)


def _shown(batch: BatchSnapshot, call: Call, *, headers: dict[str, str] | None = None) -> Response:
    return replace(as_json(_batch(batch, call), headers=headers), batch_id=batch.id)


def _batch(batch: BatchSnapshot, call: Call) -> dict[str, Any]:
    """Return the MessageBatch object: the API's ten fields, in its order (§3.1), its URL with the requested host."""
    url = f"http://{call.request.headers['host']}/v1/messages/batches/{batch.id}/results"
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": batch.processing_status,
        "request_counts": batch.request_counts,
        "ended_at": _timestamp(batch.ended_at),
        "created_at": _timestamp(batch.created_at),
        "expires_at": _timestamp(batch.expires_at),
        "archived_at": _timestamp(batch.archived_at),
        "cancel_initiated_at": _timestamp(batch.cancel_initiated_at),
        "results_url": url if batch.processing_status == "ended" else None,
    }


def _part(call: Call) -> dict[str, Any]:
    """Return which part of a listing is requested (§3.3)."""
    query = call.request.query
    after_id, before_id = query.get("after_id"), query.get("before_id")
    if after_id is not None and before_id is not None:
        raise errors.invalid("after_id: cannot be used together with before_id")
    return {"limit": _limit(query.get("limit", "20")), "after_id": after_id, "before_id": before_id}


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
