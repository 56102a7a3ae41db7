"""The checks of a create call before it is answered: the JSON, the list's bounds, and every rule about custom_ids.

What is inside `params` is checked when the batch ends (`docs/reference/wire.md` §6).
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from django_claude_batches.testing.emulator import errors

CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)


def read_requests(body: bytes, *, max_requests: int) -> list[dict[str, Any]]:
    """Return the requests of a create call's body, or raise the `Refusal` that the API would answer (§5.3)."""
    document = _parse(body)
    if not isinstance(document, dict):
        raise errors.invalid("Input should be a valid dictionary")
    if "requests" not in document:
        raise errors.invalid("requests: Field required")
    _forbid_extra(document, {"requests"}, at="")
    requests = document["requests"]
    _check_bounds(requests, max_requests)
    for position, request in enumerate(requests):
        _check_request(request, at=f"requests.{position}")
    _check_unique(requests)
    return list(requests)


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise errors.json_invalid(str(error)) from None


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python's parser accepts and JSON does not have."""
    raise ValueError(f"{name} is not JSON")


def _forbid_extra(mapping: dict[str, Any], known: set[str], *, at: str) -> None:
    for key in mapping:
        if key not in known:
            raise errors.invalid(f"{at}{key}: Extra inputs are not permitted")


def _check_bounds(requests: Any, max_requests: int) -> None:
    if not isinstance(requests, list):
        raise errors.invalid("requests: Input should be a valid list")
    count = len(requests)
    if not count:
        raise errors.invalid("requests: List should have at least 1 item after validation, not 0")
    if count > max_requests:
        raise errors.invalid(f"requests: List should have at most {max_requests} items after validation, not {count}")


def _check_request(request: Any, *, at: str) -> None:
    if not isinstance(request, dict):
        raise errors.invalid(f"{at}: Input should be a valid dictionary")
    for key in ("custom_id", "params"):
        if key not in request:
            raise errors.invalid(f"{at}.{key}: Field required")
    _check_custom_id(request["custom_id"], at=f"{at}.custom_id")
    if not isinstance(request["params"], dict):
        raise errors.invalid(f"{at}.params: Input should be a valid dictionary")
    _forbid_extra(request, {"custom_id", "params"}, at=f"{at}.")


def _check_custom_id(custom_id: Any, *, at: str) -> None:
    if not isinstance(custom_id, str):
        raise errors.invalid(f"{at}: Input should be a valid string")
    if len(custom_id) > 64:
        raise errors.invalid(f"{at}: String should have at most 64 characters")
    if not CUSTOM_ID.fullmatch(custom_id):
        raise errors.invalid(f"{at}: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")


def _check_unique(requests: list[dict[str, Any]]) -> None:
    seen = set()
    for request in requests:
        custom_id = request["custom_id"]
        if custom_id in seen:
            raise errors.duplicate_custom_id(custom_id)
        seen.add(custom_id)
