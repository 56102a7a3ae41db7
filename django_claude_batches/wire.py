"""Types and limits of the API. No behavior.

Sources are named as in `docs/reference/wire.md`; every object may have keys that are not listed here, and all of them
are kept.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NotRequired, TypedDict

# Requests in one batch (API reference: minItems 1, maxItems 100000).
MAX_REQUESTS = 100_000

# Bytes of one create call. The documentation says "256 MB" without saying MB or MiB: this is the smaller one.
MAX_BODY_BYTES = 256_000_000

MAX_CUSTOM_ID_LENGTH = 64
# Use with `fullmatch`.
CUSTOM_ID_PATTERN = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)

# Use with `fullmatch`. The API says that "format and length may change", so only the prefix and a safe alphabet are
# required: a match can be used in a URL's path unchanged.
BATCH_ID_PATTERN = re.compile(r"msgbatch_[a-zA-Z0-9_-]{1,119}", re.ASCII)

# Use with `fullmatch`: values that fit into a header and into the column.
WORKSPACE_ID_PATTERN = re.compile(r"[\x21-\x7e]{1,100}")

# Batches on one page of a listing (the default is 20).
MAX_PAGE = 1000

# Days, counted from `created_at` and not from `ended_at`, for which results can be fetched.
RESULTS_LAST_DAYS = 29

# Keys of `params` that a batch refuses, each only when the whole batch has ended (up to 24 hours later).
UNSUPPORTED_PARAMS = ("stream", "speed", "fallbacks")

# The stop reasons of a complete answer (docs/reference/wire.md §3.6). With any other, or none, it was truncated or
# paused, or ended in an undocumented way.
WHOLE_STOP_REASONS = frozenset({"end_turn", "stop_sequence", "tool_use"})

ProcessingStatus = Literal["in_progress", "canceling", "ended"]
ResultType = Literal["succeeded", "errored", "canceled", "expired"]


class Request(TypedDict):
    """One request of a batch: `params` is the body of a (non-streaming) Messages call."""

    custom_id: str
    params: dict[str, Any]


class RequestCounts(TypedDict):
    processing: int
    succeeded: int
    errored: int
    canceled: int
    expired: int


class MessageBatch(TypedDict):
    """A batch as the API shows it. Timestamps are RFC 3339 text; the four terminal counts stay 0 until it has ended."""

    id: str
    type: Literal["message_batch"]
    processing_status: str
    request_counts: RequestCounts
    created_at: str
    expires_at: str
    ended_at: str | None
    archived_at: str | None
    cancel_initiated_at: str | None
    results_url: str | None


class DeletedMessageBatch(TypedDict):
    id: str
    type: Literal["message_batch_deleted"]


class Page(TypedDict):
    """A page of a listing, newest batch first."""

    data: list[MessageBatch]
    has_more: bool
    first_id: str | None
    last_id: str | None


class CacheCreation(TypedDict):
    ephemeral_5m_input_tokens: int
    ephemeral_1h_input_tokens: int


class ServerToolUse(TypedDict, total=False):
    web_search_requests: int
    web_fetch_requests: int


class Usage(TypedDict):
    """Tokens of one answer. `input_tokens` are only those after the last cache breakpoint."""

    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: NotRequired[int | None]
    cache_read_input_tokens: NotRequired[int | None]
    cache_creation: NotRequired[CacheCreation | None]
    server_tool_use: NotRequired[ServerToolUse | None]
    service_tier: NotRequired[str | None]
    inference_geo: NotRequired[str | None]


class Message(TypedDict):
    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[dict[str, Any]]
    stop_reason: str | None
    stop_sequence: str | None
    usage: Usage


class ErrorObject(TypedDict):
    type: str
    message: str
    details: NotRequired[dict[str, Any] | None]


class ErrorEnvelope(TypedDict):
    """The content of `result.error` of an errored line, and the body of an HTTP error: the error is nested once."""

    type: Literal["error"]
    error: ErrorObject
    request_id: NotRequired[str | None]


class Result(TypedDict):
    """`type` is succeeded, errored, canceled or expired today; others may be added and are kept."""

    type: str
    message: NotRequired[Message]
    error: NotRequired[ErrorEnvelope]


class ResultLine(TypedDict):
    """One line of a batch's results. Lines arrive in any order: only `custom_id` identifies the request."""

    custom_id: str
    result: Result
