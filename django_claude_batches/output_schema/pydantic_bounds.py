"""Bound the cost of pydantic validation: count the steps that it will take, if a model's unions contain themselves.

Pydantic's engine cannot be interrupted, and if a union contains itself, each level of an answer multiplies the steps.
They are counted before validation, up to a bound, on the same path through the core schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# Maximum steps for one answer: about 2 seconds on a machine of 2026.
MAX_TRIES = 2**17

Schema = dict[str, Any]


class TryCounter:
    """Count the steps (tries) that validation by a core schema takes."""

    def __init__(self, core_schema: Schema) -> None:
        self._schema = core_schema
        self._named = {schema["ref"]: schema for schema in schemas(core_schema) if "ref" in schema}

    def multiply(self) -> bool:
        """Return whether several choices of a union contain it again.

        A union with a discriminator tries only one choice.
        """
        unions = [schema for schema in schemas(self._schema) if schema.get("type") == "union"]
        return any(sum(self._contains(choice, union) for choice in self._choices(union, set())) > 1 for union in unions)

    def are_too_many(self, value: Any) -> bool:
        """Return whether validating this JSON value takes more than MAX_TRIES steps."""
        left = MAX_TRIES
        waiting = [(self._schema, value)]
        while waiting:
            left -= 1
            if left < 0:
                return True
            schema, part = waiting.pop()
            waiting += self._within(schema, part)
        return False

    def _within(self, schema: Schema, value: Any) -> Iterator[tuple[Schema, Any]]:
        """Yield the schemas that are tried next, each with the part of the value that it is tried on."""
        kind = schema.get("type")
        if kind == "definition-ref":
            yield self._named[schema["schema_ref"]], value
        elif kind == "union":
            yield from ((_of(choice), value) for choice in schema["choices"])
        elif kind == "tagged-union":
            yield from self._tagged(schema, value)
        elif kind in {"model-fields", "typed-dict", "dataclass-args"}:
            if isinstance(value, dict):
                yield from self._fields(schema["fields"], value)
        elif kind == "nullable" and value is None:
            return
        elif kind in {"list", "set", "frozenset", "generator", "tuple"}:
            if isinstance(value, list):
                yield from self._items(schema.get("items_schema"), value)
        elif kind == "dict":
            if isinstance(value, dict) and "values_schema" in schema:
                yield from ((schema["values_schema"], part) for part in value.values())
        elif kind == "chain":
            yield from ((step, value) for step in schema["steps"])
        else:
            yield from (
                (schema[name], value) for name in ("schema", "lax_schema") if isinstance(schema.get(name), dict)
            )

    def _tagged(self, schema: Schema, value: Any) -> Iterator[tuple[Schema, Any]]:
        """Yield the choice that the discriminator names; if it is a function or a path, yield all choices."""
        discriminator, choices = schema["discriminator"], schema["choices"]
        if not isinstance(discriminator, str):
            yield from ((_of(choice), value) for choice in choices.values())
            return
        tag = value.get(discriminator) if isinstance(value, dict) else None
        if isinstance(tag, str | int) and tag in choices:
            yield _of(choices[tag]), value

    def _fields(self, fields: Any, value: dict[str, Any]) -> Iterator[tuple[Schema, Any]]:
        named = fields.items() if isinstance(fields, dict) else ((field["name"], field) for field in fields)
        for name, field in named:
            alias = field.get("validation_alias", name)
            for key in {name, alias} if isinstance(alias, str) else value:
                if key in value:
                    yield field["schema"], value[key]

    def _items(self, items: Any, value: list[Any]) -> Iterator[tuple[Schema, Any]]:
        if isinstance(items, list):
            yield from ((items[min(place, len(items) - 1)], part) for place, part in enumerate(value) if items)
        elif items is not None:
            yield from ((items, part) for part in value)

    def _choices(self, schema: Schema, followed: set[str]) -> Iterator[Schema]:
        """Yield the choices of a union, with nested unions replaced by their choices."""
        kind = schema.get("type")
        if kind == "union":
            for choice in schema["choices"]:
                yield from self._choices(_of(choice), followed)
        elif kind == "definition-ref":
            if schema["schema_ref"] not in followed:
                followed.add(schema["schema_ref"])
                yield from self._choices(self._named[schema["schema_ref"]], followed)
        elif isinstance(schema.get("schema"), dict) and (kind != "model" or schema.get("root_model")):
            yield from self._choices(schema["schema"], followed)
        else:
            yield schema

    def _contains(self, schema: Schema, union: Schema) -> bool:
        waiting, followed = [schema], set()
        while waiting:
            for found in schemas(waiting.pop()):
                if found is union:
                    return True
                ref = found.get("schema_ref")
                if ref in self._named and ref not in followed:
                    followed.add(ref)
                    waiting.append(self._named[ref])
        return False


def schemas(core_schema: Any) -> Iterator[Schema]:
    """Yield all schemas that a core schema consists of, without following its references."""
    waiting = [core_schema]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            waiting += found.values()
        elif isinstance(found, list | tuple):
            waiting += found


def _of(choice: Any) -> Schema:
    """Return a choice without its label."""
    schema: Schema = choice[0] if isinstance(choice, tuple) else choice
    return schema
