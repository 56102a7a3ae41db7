"""Validate a request before it is stored, and encode it exactly as it will be sent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NotRequired, TypedDict

from django.contrib.contenttypes.models import ContentTypeManager
from django.db import models

from django_claude_batches import sanitize, wire
from django_claude_batches.drafting.json_text import NotPlain, encode, encode_cells, plain_copy
from django_claude_batches.drafting.target import content_types_of, resolve_target
from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.model_limits import warnings_of

# Characters of the tag that, with an underscore after it, is prefixed to each custom_id on the wire.
TAG_LENGTH = 13

MAX_OUR_CUSTOM_ID = wire.MAX_CUSTOM_ID_LENGTH - TAG_LENGTH - 1

# Arguments of `messages.create` in the official SDK that it does not send in the body. The API refuses them there.
SDK_ARGUMENTS = {
    "betas": "give them to create_draft(betas=…), or to a job as betas",
    "extra_body": "put its members into params",
    "extra_headers": "a batch sends none but those of betas and user_profile_id",
    "extra_query": "leave it out",
    "timeout": "leave it out",
}

# Members without which the API refuses a body, with their types (docs/reference/wire.md §6).
REQUIRED_PARAMS: tuple[tuple[str, Any, str], ...] = (
    ("model", str, "the name of a model"),
    ("max_tokens", int, "a whole number from 1"),
    ("messages", (list, tuple), "a list with at least one message"),
)

MAX_MODEL_LENGTH = 100

# More than any model's limit, which is at most 300,000 (docs/reference/wire.md §4); the API refuses more than this.
MAX_TOKENS = 1_000_000

# Printable ASCII except the space and the comma, which separates betas.
HEADER_WORD = re.compile(r"[!-+\--~]+")


# The keys of `DraftRequest`.
KEYS = {"custom_id": None, "params": None, "target": None, "cells": None}


class DraftRequest(TypedDict):
    """One item for `create_draft`.

    `params` is the body of a Messages call. `custom_id` is the item's position (from 0) unless given; `target` is any
    saved model instance, found again as `result.target`. `cells` is the row of a table that the request is about: it is
    not sent, and comes back in a CSV export under the names of `cells_header`.
    """

    params: Mapping[str, Any]
    custom_id: NotRequired[str]
    target: NotRequired[models.Model | None]
    cells: NotRequired[Sequence[str]]


class Prepared(NamedTuple):  # made for each request: a frozen dataclass takes eight times as long
    """A request that was checked: its params as compact JSON text, and their size in bytes of UTF-8.

    The fields that determine its cost are stored with the text; `max_tokens` is 0 if the API will refuse it. `warnings`
    lists what its model refuses. `cells` is a row of a table as a JSON list, which is stored and not sent.
    """

    position: int
    custom_id: str
    model: str
    params: str
    params_bytes: int
    content_type_id: int | None
    object_id: str | None
    max_tokens: int
    inference_geo: str
    warnings: tuple[str, ...] = ()
    cells: str | None = None

    @property
    def size(self) -> int:
        """Return the approximate bytes of the row."""
        return self.params_bytes if self.cells is None else self.params_bytes + len(self.cells)

    def encoded(self) -> Prepared:
        return self


@dataclass(frozen=True, slots=True)
class Checked:
    """A request that was checked but is not encoded: its params are a copy, and can be encoded while others are stored.

    `size` is the approximate number of bytes of their JSON, and of the cells.
    """

    position: int
    custom_id: str
    params: Mapping[str, Any]
    content_type_id: int | None
    object_id: str | None
    size: int
    cells: str | None = None

    def encoded(self) -> Prepared:
        """Encode the params. No foreign code runs. Raise InvalidRequest if they cannot be encoded."""
        try:
            text = encode_params(self.params)
        except InvalidRequest as error:
            raise _with_place(error, self.position, self.custom_id) from None
        size = len(text) if text.isascii() else len(text.encode())
        return Prepared(
            self.position,
            self.custom_id,
            model_of(self.params),
            text,
            size,
            self.content_type_id,
            self.object_id,
            max_tokens_of(self.params),
            geo_of(self.params),
            tuple(warnings_of(self.params)),
            self.cells,
        )


def encode_params(params: Any) -> str:
    """Return `params` as the compact JSON text that will be sent; raise InvalidRequest if the API would refuse it.

    Only what no model accepts is refused here: the API judges all else when the batch has ended, and returns it as that
    request's error (docs/reference/wire.md §6).
    """
    if not isinstance(params, Mapping):
        raise InvalidRequest(f"params must be a JSON object, not {type(params).__name__}")
    for key in wire.UNSUPPORTED_PARAMS:
        if params.get(key) not in (None, False):
            raise InvalidRequest(f"params.{key} is not supported in a batch: remove it")
    text = encode(params)
    if problem := _problem(params):
        raise InvalidRequest(problem)
    return text


def _problem(params: Mapping[str, Any]) -> str:
    """Return what no model accepts: arguments of the call that are not part of its body, and missing members."""
    for key, instead in SDK_ARGUMENTS.items():
        if key in params:
            return f"params.{key} is no member of a Messages call's body: {instead}"
    for key, kind, words in REQUIRED_PARAMS:
        given = params.get(key)
        if given is None:
            return f"params.{key} is missing: the API requires it"
        if not isinstance(given, kind) or given is True or not given or (kind is int and given < 1):
            return f"params.{key} must be {words}, not {_kind(given)}"
    return ""


def _kind(value: Any) -> str:
    """Return the value if it is a number, otherwise its type: the message is public, and the value may be a prompt."""
    if isinstance(value, (int, float)):
        return f"{value!r:.80}"
    return type(value).__name__ if value else f"an empty {type(value).__name__}"


def model_of(params: Mapping[str, Any]) -> str:
    """Return the model's name as its column holds it."""
    return sanitize.text(str(params.get("model") or ""), MAX_MODEL_LENGTH)


def max_tokens_of(params: Mapping[str, Any]) -> int:
    """Return `max_tokens`, or 0 if the API will refuse it or it is missing."""
    given = params.get("max_tokens")
    return given if isinstance(given, int) and 0 < given <= MAX_TOKENS and given is not True else 0


def geo_of(params: Mapping[str, Any]) -> str:
    """Return the `inference_geo` if it has a price of its own."""
    return "us" if params.get("inference_geo") == "us" else ""


def check_custom_id(custom_id: Any) -> str:
    if not isinstance(custom_id, str):
        raise InvalidRequest(f"custom_id must be text, not {type(custom_id).__name__}")
    if len(custom_id) > MAX_OUR_CUSTOM_ID:
        raise InvalidRequest(
            f"custom_id has {len(custom_id)} characters and may have {MAX_OUR_CUSTOM_ID}: "
            f"the API allows {wire.MAX_CUSTOM_ID_LENGTH}; {TAG_LENGTH + 1} are ours"
        )
    if not wire.CUSTOM_ID_PATTERN.fullmatch(custom_id):
        raise InvalidRequest("custom_id may hold only the characters a-z, A-Z, 0-9, _ and -, and at least one")
    return custom_id


def check(
    item: Any, position: int, content_types: ContentTypeManager, *, rows_are_replicas: bool = False
) -> Checked | Prepared:
    """Check one item; encode params that are not plain. Raise InvalidRequest with its position and custom_id."""
    if isinstance(item, Prepared):
        return item._replace(position=position)
    custom_id: Any = None
    try:
        if not isinstance(item, Mapping) or "params" not in item:
            raise InvalidRequest('each item must be a mapping with "params"')
        if unknown := item.keys() - KEYS:
            raise InvalidRequest(f"unknown key {sorted(map(str, unknown))[0]!r}: {', '.join(KEYS)} are known")
        custom_id = item.get("custom_id")
        custom_id = str(position) if custom_id is None else custom_id
        check_custom_id(custom_id)
        params = item["params"]
        target = resolve_target(item.get("target"), content_types, rows_are_replicas=rows_are_replicas)
        cells = encode_cells(item["cells"]) if "cells" in item else None
    except InvalidRequest as error:
        raise _with_place(error, position, custom_id if isinstance(custom_id, str) else None) from None
    sizes: list[int] = []
    try:
        # The caller may reuse the dict for the next item before this one is encoded.
        return Checked(position, custom_id, plain_copy(params, sizes), *target, sum(sizes) + len(cells or ""), cells)
    except (NotPlain, RecursionError):
        return Checked(position, custom_id, params, *target, 0, cells).encoded()


def _with_place(error: InvalidRequest, position: int, custom_id: str | None) -> InvalidRequest:
    return type(error)(error.reason, position=position, custom_id=custom_id)


def check_header(name: str, value: Any) -> str:
    """Return what will be sent in a header; raise InvalidRequest for what no header can contain."""
    if not isinstance(value, str) or not HEADER_WORD.fullmatch(value):
        given = "" if isinstance(value, str) else f", not {type(value).__name__}"
        raise InvalidRequest(f"{name} must be one word of printable ASCII without commas{given}")
    return value


def checked(items: Iterable[Any], *, using: str, rows_are_replicas: bool = False) -> Iterator[Checked | Prepared]:
    """Check the items lazily, one by one, for this database; none is kept."""
    content_types = content_types_of(using)
    position = -1
    for position, item in enumerate(items):
        yield check(item, position, content_types, rows_are_replicas=rows_are_replicas)
    if position < 0:
        raise InvalidRequest("a batch needs at least one request, and there was none")
