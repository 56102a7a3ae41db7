"""Validate answers with a JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

from django_claude_batches.output_schema.errors import (
    MAX_PROBLEMS,
    MISSING_PACKAGE,
    BadSchema,
    InvalidOutput,
    Validated,
    joined,
    short,
)
from django_claude_batches.output_schema.jsonschema_bounds import TooCostly, bounded, run_within

# Keywords whose value refers to another schema.
REFERENCES = ("$ref", "$dynamicRef")

# Limit of the CPU time to validate one answer: basic, extra for each million characters (most schemas take 2 s), and
# maximum. The maximum keeps the validation within the lease of the worker that delivers the answer.
SECONDS, SECONDS_OF_A_MB, MAX_SECONDS = 2.0, 20.0, 30.0


def schema_problem(schema: Mapping[str, Any]) -> str:
    """Return why this is not a JSON Schema; empty if it is one or jsonschema is not installed."""
    try:
        JsonSchemaChecker(schema)
    except BadSchema as error:
        return "" if isinstance(error.__cause__, ImportError) else str(error).removeprefix("output_schema ")
    return ""


class JsonSchemaChecker:
    """Validate answers with a JSON Schema, of draft 2020-12 unless `$schema` names another.

    Validating an answer takes at most `seconds` of CPU time, and more for a long answer. Raise BadSchema if the schema
    is invalid or jsonschema is not installed.
    """

    def __init__(self, schema: Mapping[str, Any], *, seconds: float = SECONDS) -> None:
        try:
            # All packages are imported inside functions of this module: a project without a schema does not need them.
            from jsonschema import SchemaError  # noqa: PLC0415
            from jsonschema.exceptions import best_match  # noqa: PLC0415
            from referencing.jsonschema import EMPTY_REGISTRY  # noqa: PLC0415

            self.schema = _plain(schema)
            validator = bounded(_validator_class(self.schema))
        except ImportError as error:
            raise BadSchema(MISSING_PACKAGE.format("jsonschema")) from error
        try:
            validator.check_schema(self.schema)
            # An empty registry: without one, jsonschema fetches what a `$ref` names from the network.
            self._validator = validator(self.schema, registry=EMPTY_REGISTRY, format_checker=validator.FORMAT_CHECKER)
            _check_references(validator, self.schema)
            _check_patterns(self.schema)
        except SchemaError as error:
            raise BadSchema(f"output_schema is not a valid JSON Schema: {short(_said(error))}") from None
        self.warnings: list[str] = []
        self._best = best_match
        self._seconds = seconds

    def check(self, text: str, value: Any) -> Validated:
        seconds = min(self._seconds + SECONDS_OF_A_MB * len(text) / 1_000_000, MAX_SECONDS)
        try:
            problems = run_within(seconds, lambda: self._problems(value))
        except TooCostly as error:
            raise InvalidOutput(f"cannot be checked: {error}") from None
        except ArithmeticError as error:  # 10**400 is valid JSON but not a float, which `multipleOf` needs
            raise InvalidOutput(f"a number cannot be checked: {error}") from None
        if problems:
            raise InvalidOutput(joined(problems))
        return Validated(value, value)

    def _problems(self, value: Any) -> list[str]:
        errors = islice(self._validator.iter_errors(value), MAX_PROBLEMS)
        return [_said(self._best(iter([error]))) for error in errors]


def _plain(schema: Any) -> dict[str, Any]:
    """Return a deep copy of plain dicts and lists, so that later changes of the original do not affect it."""
    if not isinstance(schema, Mapping):
        raise BadSchema(f"output_schema must be a JSON Schema or a pydantic model, not {schema!r:.100}")
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(schema), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadSchema(f"output_schema is not JSON: {error}") from None
    return copy


def _validator_class(schema: dict[str, Any]) -> Any:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 (as above)
    from jsonschema.validators import validator_for  # noqa: PLC0415

    if "$schema" not in schema:
        return Draft202012Validator
    named = schema["$schema"]
    found = validator_for({"$schema": named}, default=None) if isinstance(named, str) else None  # type: ignore[arg-type]
    if found is None:
        raise BadSchema(f"output_schema names a draft that jsonschema does not support: {named!r:.200}")
    return found


def _check_references(validator: Any, schema: dict[str, Any]) -> None:
    """Raise BadSchema for a reference to something outside the schema, rather than fail with the first answer."""
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


def _check_patterns(schema: dict[str, Any]) -> None:
    """Raise BadSchema for a pattern that `regex` does not accept, or that jsonschema would search for with `re`."""
    import regex  # noqa: PLC0415 (as above)

    beside = [each for each in _named(schema, "patternProperties") if isinstance(each, dict)]
    for pattern in [each for each in _named(schema, "pattern") if isinstance(each, str)] + [*chain(*beside)]:
        try:
            regex.compile(pattern)
        except regex.error as error:
            raise BadSchema(f"output_schema has a pattern that cannot be used: {pattern!r:.200}: {error}") from None
    if beside and list(_named(schema, "unevaluatedProperties")):
        raise BadSchema(
            "output_schema has both unevaluatedProperties and patternProperties, and the time to validate both is not "
            "bounded: use additionalProperties instead"
        )


def _named(value: Any, name: str) -> Iterator[Any]:
    """Yield the value of each member with this name, at any depth."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict) and name in value:
        yield value[name]
    for each in inner:
        yield from _named(each, name)


def _said(error: Any) -> str:
    return f"{error.json_path}: {error.message}"
