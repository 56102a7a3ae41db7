"""Other endpoints of the API: the models, and counting tokens (`docs/reference/wire.md` §1)."""

from __future__ import annotations

import json
from typing import Any

from . import errors
from .lines import input_tokens
from .pagination import page_of
from .validation.models import MODELS, Model
from .validation.params import Terms, judge

DEPRECATED = frozenset({"claude-mythos-preview"})
UNKNOWN_DATE = "1970-01-01T00:00:00Z"


def models(*, limit: int, after_id: str | None, before_id: str | None) -> dict[str, Any]:
    """Return a page of the models, the newest first."""
    listed = list(dict.fromkeys(MODELS.values()))
    ids = [model.id for model in listed]
    part, has_more = page_of(ids, limit=limit, after_id=after_id, before_id=before_id, kind="Model")
    return page([_shown(model) for model in listed[part]], has_more=has_more)


def model(name: str) -> dict[str, Any]:
    if name not in MODELS:
        raise errors.model_unknown(name)
    return _shown(MODELS[name])


def _shown(model: Model) -> dict[str, Any]:
    """Return the ModelInfo: unknown fields are null if the SDK's type allows it; `created_at` may be the epoch."""
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.name,
        "created_at": UNKNOWN_DATE,
        "lifecycle": "deprecated" if model.id in DEPRECATED else "active",
        "line": model.id.split("-")[1],
        "max_input_tokens": None,
        "max_tokens": model.max_tokens,
        "capabilities": None,
    }


def token_count(body: bytes | None, terms: Terms) -> dict[str, Any]:
    """Return the approximate number of input tokens, or raise the request's error."""
    try:
        params = json.loads(body or b"")
    except (ValueError, RecursionError) as error:
        raise errors.json_invalid(str(error)) from None
    if not isinstance(params, dict):
        raise errors.invalid("Input should be a valid dictionary")
    # It has no max_tokens; with this beta, a thinking budget is not compared with them.
    terms = terms._replace(betas=(*terms.betas, "interleaved-thinking-2025-05-14"))
    failure = judge({"max_tokens": 1} | params, terms, in_batch=False)
    if failure is not None:
        raise errors.Refusal(404 if failure.type == "not_found_error" else 400, failure.type, failure.message)
    return {"input_tokens": input_tokens(params)}


def page(data: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    ids = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return {"data": data, "has_more": has_more} | ids
