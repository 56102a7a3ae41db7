"""Answers that a JSON Schema says how they must be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

from django_claude_batches.output_schema.outcome import (
    MOST_PROBLEMS,
    NEEDED,
    BadSchema,
    InvalidOutput,
    Validated,
    joined,
    short,
)

REFERENCES = ("$ref", "$dynamicRef")
"""Keywords whose value names another schema."""


class BySchema:
    """Checks by a JSON Schema: of draft 2020-12, unless `$schema` names another."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        try:
            # Here, as everything from other packages in here: a project without a schema needs none of them.
            from jsonschema import SchemaError  # noqa: PLC0415
            from jsonschema.exceptions import best_match  # noqa: PLC0415
            from referencing.jsonschema import EMPTY_REGISTRY  # noqa: PLC0415
        except ImportError as error:
            raise BadSchema(NEEDED.format("jsonschema")) from error
        self.schema = _plain(schema)
        validator = _validator_class(self.schema)
        try:
            validator.check_schema(self.schema)
            # A registry of nothing: without one, jsonschema fetches what a `$ref` names from the network.
            self._validator = validator(self.schema, registry=EMPTY_REGISTRY, format_checker=validator.FORMAT_CHECKER)
            _check_references(validator, self.schema)
        except SchemaError as error:
            raise BadSchema(f"output_schema is no valid JSON Schema: {short(_said(error))}") from None
        self._best = best_match

    def check(self, text: str, value: Any) -> Validated:
        try:
            errors = islice(self._validator.iter_errors(value), MOST_PROBLEMS)
            problems = [_said(self._best(iter([error]))) for error in errors]
        except ArithmeticError as error:  # 10**400 is JSON, and no float, which `multipleOf` asks for
            raise InvalidOutput(f"a number cannot be checked: {error}") from None
        if problems:
            raise InvalidOutput(joined(problems))
        return Validated(value, value)


def _plain(schema: Any) -> dict[str, Any]:
    """Give a copy made of dicts and lists, which nobody can change meanwhile."""
    if not isinstance(schema, Mapping):
        raise BadSchema(f"output_schema must be a JSON Schema or a pydantic model, not {schema!r:.100}")
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(schema), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadSchema(f"output_schema is no JSON: {error}") from None
    return copy


def _validator_class(schema: dict[str, Any]) -> Any:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 (as above)
    from jsonschema.validators import validator_for  # noqa: PLC0415

    if "$schema" not in schema:
        return Draft202012Validator
    named = schema["$schema"]
    found = validator_for({"$schema": named}, default=None) if isinstance(named, str) else None  # type: ignore[arg-type]
    if found is None:
        raise BadSchema(f"output_schema is of a draft that jsonschema does not know: {named!r:.200}")
    return found


def _check_references(validator: Any, schema: dict[str, Any]) -> None:
    """Raise BadSchema for a reference to what is not in the schema: at the first answer it would be too late."""
    from referencing.exceptions import Unresolvable  # noqa: PLC0415 (as above)
    from referencing.jsonschema import EMPTY_REGISTRY, specification_with  # noqa: PLC0415 (as above)

    resource = specification_with(validator.META_SCHEMA["$schema"]).create_resource(schema)
    waiting = [(resource, EMPTY_REGISTRY.resolver_with_root(resource))]
    while waiting:
        resource, resolver = waiting.pop()
        contents = resource.contents if isinstance(resource.contents, Mapping) else {}
        for named in filter(None, map(contents.get, REFERENCES)):
            try:
                resolver.lookup(named)
            except Unresolvable:
                raise BadSchema(f"output_schema refers to {named!r:.200}, which is not in it") from None
        waiting += [(inner, resolver.in_subresource(inner)) for inner in resource.subresources()]


def _said(error: Any) -> str:
    return f"{error.json_path}: {error.message}"
