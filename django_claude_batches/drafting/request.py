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

# Characters of the tag. On the wire, the tag and an underscore precede each custom_id.
TAG_LENGTH = 13

MAX_OUR_CUSTOM_ID = wire.MAX_CUSTOM_ID_LENGTH - TAG_LENGTH - 1

# Arguments of `messages.create` in the official SDK that are not sent in the body. The API refuses a body with them.
SDK_ARGUMENTS = {
    "betas": "pass them to create_draft(betas=…), or set betas on the job",
    "extra_body": "put its members into params",
    "extra_headers": "a batch sends only the headers of betas and user_profile_id",
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

    `params` is the body of a Messages call. `custom_id` defaults to the item's position, from 0. `target` is any saved
    model instance, which `result.target` returns later. `cells` are the cells of the table row that the request is
    about: they are not sent, and a CSV export has them in the columns of `cells_header`.
    """

    params: Mapping[str, Any]
    custom_id: NotRequired[str]
    target: NotRequired[models.Model | None]
    cells: NotRequired[Sequence[str]]


class Prepared(NamedTuple):  # made for each request: a frozen dataclass takes eight times as long
    """A request that was checked: its params as compact JSON text, and their size in bytes of UTF-8.

    `max_tokens` and `inference_geo` are needed to estimate the cost; `max_tokens` is 0 if the API will refuse it.
    `warnings` lists the parameters that the model refuses. `cells` is a table row as a JSON list, which is stored but
    not sent.
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
    """A request that was checked but not encoded. Its params are a copy, to be encoded while other rows are stored.

    `size` is the approximate number of bytes of the params' JSON and of the cells.
    """

    position: int
    custom_id: str
    params: Mapping[str, Any]
    content_type_id: int | None
    object_id: str | None
    size: int
    cells: str | None = None

    def encoded(self) -> Prepared:
        """Encode the params, which runs no code of the caller. Raise InvalidRequest if they cannot be encoded."""
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

    Only params that no model accepts are refused. The API checks all others while it processes the batch, and returns
    an error as that request's result (docs/reference/wire.md §6).
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
    """Return why no model accepts these params: an argument that is not part of the body, or a missing member."""
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
    """Return a number itself, and the type of other values, which may be prompts: messages must not quote them."""
    if isinstance(value, (int, float)):
        return f"{value!r:.80}"
    return type(value).__name__ if value else f"an empty {type(value).__name__}"


def model_of(params: Mapping[str, Any]) -> str:
    """Return the model's name as it is stored."""
    return sanitize.text(str(params.get("model") or ""), MAX_MODEL_LENGTH)


def max_tokens_of(params: Mapping[str, Any]) -> int:
    """Return `max_tokens`, or 0 if it is missing or the API will refuse it."""
    given = params.get("max_tokens")
    return given if isinstance(given, int) and 0 < given <= MAX_TOKENS and given is not True else 0


def geo_of(params: Mapping[str, Any]) -> str:
    """Return the `inference_geo` if it changes the price; otherwise an empty text."""
    return "us" if params.get("inference_geo") == "us" else ""


def check_custom_id(custom_id: Any) -> str:
    if not isinstance(custom_id, str):
        raise InvalidRequest(f"custom_id must be text, not {type(custom_id).__name__}")
    if len(custom_id) > MAX_OUR_CUSTOM_ID:
        raise InvalidRequest(
            f"custom_id has {len(custom_id)} characters and may have {MAX_OUR_CUSTOM_ID}: the API allows "
            f"{wire.MAX_CUSTOM_ID_LENGTH}, and {TAG_LENGTH + 1} are needed for a prefix"
        )
    if not wire.CUSTOM_ID_PATTERN.fullmatch(custom_id):
        raise InvalidRequest("custom_id may hold only the characters a-z, A-Z, 0-9, _ and -, and at least one")
    return custom_id


def check(
    item: Any, position: int, content_types: ContentTypeManager, *, rows_are_replicas: bool = False
) -> Checked | Prepared:
    """Check one item. Raise InvalidRequest, with its position and custom_id, if it is invalid.

    Params that contain subclasses of dict or list are encoded at once: that may run code of the caller.
    """
    if isinstance(item, Prepared):
        return item._replace(position=position)
    custom_id: Any = None
    try:
        if not isinstance(item, Mapping) or "params" not in item:
            raise InvalidRequest('each item must be a mapping with "params"')
        if unknown := item.keys() - KEYS:
            raise InvalidRequest(f"unknown key {sorted(map(str, unknown))[0]!r}: the keys are {', '.join(KEYS)}")
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
    """Return the value of a header. Raise InvalidRequest if no header can contain it; the value is not quoted."""
    if not isinstance(value, str) or not HEADER_WORD.fullmatch(value):
        given = "" if isinstance(value, str) else f", not {type(value).__name__}"
        raise InvalidRequest(f"{name} must be one word of printable ASCII without commas{given}")
    return value


def checked(items: Iterable[Any], *, using: str, rows_are_replicas: bool = False) -> Iterator[Checked | Prepared]:
    """Yield the items as they are checked, one by one, for the database `using`.

    Raise InvalidRequest for an invalid item, and if there is no item.
    """
    content_types = content_types_of(using)
    position = -1
    for position, item in enumerate(items):
        yield check(item, position, content_types, rows_are_replicas=rows_are_replicas)
    if position < 0:
        raise InvalidRequest("a batch needs at least one request, and there was none")
