"""The API's JSON as types, and its limits as numbers. No behaviour.

Sources are named as in `docs/reference/wire.md`; every object may carry keys that are not listed here, and all of them
are kept.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NotRequired, TypedDict

MAX_REQUESTS = 100_000
"""Requests in one batch (API reference: minItems 1, maxItems 100000)."""

MAX_BODY_BYTES = 256_000_000
"""Bytes of one create call. The documentation says "256 MB" and not whether that is MB or MiB: we take the smaller."""

MAX_CUSTOM_ID_LENGTH = 64
CUSTOM_ID_PATTERN = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)
"""To be used with `fullmatch`."""

BATCH_ID_PATTERN = re.compile(r"msgbatch_[a-zA-Z0-9_-]{1,119}", re.ASCII)
"""To be used with `fullmatch`. The API says that "format and length may change", so only the prefix and a safe alphabet
are asked for: whatever matches can stand in a URL's path as it is."""

WORKSPACE_ID_PATTERN = re.compile(r"[\x21-\x7e]{1,100}")
"""To be used with `fullmatch`: whatever can stand in a header and in its column."""

MAX_PAGE = 1000
"""Batches on one page of a listing (the default is 20)."""

RESULTS_LAST_DAYS = 29
"""Days, counted from `created_at` and not from `ended_at`, for which results can be fetched."""

UNSUPPORTED_PARAMS = ("stream", "speed", "fallbacks")
"""Keys of `params` that a batch refuses, each only when the whole batch has ended (up to 24 hours later)."""

WHOLE_STOP_REASONS = frozenset({"end_turn", "stop_sequence", "tool_use"})
"""The stop reasons of an answer that is all there (docs/reference/wire.md §3.6). With any other, or none, it is not: it
was cut off or paused, or ended in a way that is not documented."""

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
    """What stands in `result.error` of an errored line, and in the body of an HTTP error: the error is nested once."""

    type: Literal["error"]
    error: ErrorObject
    request_id: NotRequired[str | None]


class Result(TypedDict):
    """`type` is succeeded, errored, canceled or expired today; others may come and are kept."""

    type: str
    message: NotRequired[Message]
    error: NotRequired[ErrorEnvelope]


class ResultLine(TypedDict):
    """One line of a batch's results. Lines come in any order: only `custom_id` says what they answer."""

    custom_id: str
    result: Result
