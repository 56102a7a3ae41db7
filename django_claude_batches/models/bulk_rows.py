"""Requests and results as plain tuples for bulk inserts, which are cheaper than model instances."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from operator import attrgetter

from django_claude_batches.db.postgres_copy import Table, Values
from django_claude_batches.drafting.request import Prepared
from django_claude_batches.models.request import BatchRequest
from django_claude_batches.models.result import BatchResult


@dataclass(slots=True)
class ResultRow:
    """A result to store. All fields but `prompts` are columns of BatchResult; `message` is JSON, `raw` is the line."""

    custom_id: str
    result_type: str
    message: str | memoryview | None = None
    stop_reason: str = ""
    model: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_write_5m_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    cache_read_tokens: int | None = None
    web_search_requests: int | None = None
    service_tier: str = ""
    inference_geo: str = ""
    cost_usd: Decimal | None = None
    error_type: str = ""
    error_message: str = ""
    error_request_id: str = ""
    raw: bytes | None = None
    request_id: int | None = None
    # Not a column. The number of prompts that the tokens cover: more than one with compactions, 0 if the usage cannot
    # be read.
    prompts: int = 1


_OF_RESULT = tuple(field.name for field in fields(ResultRow) if field.name != "prompts")
_OF_REQUEST = ("position", "custom_id", "model", "params", "params_bytes", "content_type_id", "object_id", "cells")
_result_values = attrgetter(*_OF_RESULT)
_request_values = attrgetter(*_OF_REQUEST)

RESULT_TABLE = Table(BatchResult, ("batch_id", *_OF_RESULT))
REQUEST_TABLE = Table(BatchRequest, ("batch_id", *_OF_REQUEST))


def result_values(batch_id: int, row: ResultRow) -> Values:
    return (batch_id, *_result_values(row))


def request_values(batch_id: int, request: Prepared) -> Values:
    return (batch_id, *_request_values(request))
