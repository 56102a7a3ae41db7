"""Bound the cost of JSON Schema validation, whatever an answer contains.

The validators of jsonschema search for patterns with `re`, which cannot be interrupted, and compare each item of a list
with every other item. These validators search with `regex`, which has a timeout, and every keyword first checks the CPU
time of the thread. They do not use the wall clock, so that a valid answer also passes on a busy machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from heapq import nsmallest
from typing import Any

from django_claude_batches.output_schema.errors import short

# Maximum characters of a text whose `format` is checked: some checks of other packages take quadratic time.
MAX_FORMATTED = 2000

# Maximum members of an object or a list that `unevaluated…` is checked for, which takes jsonschema quadratic time.
MAX_UNEVALUATED = 2000

Errors = Iterator[Any]
Keyword = Callable[[Any, Any, Any, Any], Errors | None]

_ends_at: ContextVar[float] = ContextVar("ends_at")


class TooCostly(Exception):
    """Validation reached a bound; the text says which."""


def bounded(validator_class: Any) -> Any:
    """Return the class of validators with keywords of bounded cost. Raise ImportError if a package is missing."""
    from attrs import fields  # noqa: PLC0415 (as in jsonschema_validator)
    from jsonschema.validators import extend  # noqa: PLC0415

    extended: Callable[..., Any] = extend
    made = extended(validator_class, Keywords(validator_class.VALIDATORS).all())
    names = [(field.name, field.alias) for field in fields(made) if field.init]

    def evolve(validator: Any, **changes: Any) -> Any:
        return made(**{alias: getattr(validator, name) for name, alias in names} | changes)

    # jsonschema's own `evolve` uses the class that a `$schema` within the schema names, whose cost is not bounded.
    made.evolve = evolve
    return made


def run_within(seconds: float, check: Callable[[], Any]) -> Any:
    """Call `check`, which uses a bounded validator. Raise TooCostly if it takes more than `seconds` of CPU time."""
    token = _ends_at.set(time.thread_time() + seconds)
    try:
        return check()
    except TimeoutError:  # raised by `regex` or by _seconds_left
        raise TooCostly(f"validation by the schema takes more than {seconds:.2g} s") from None
    finally:
        _ends_at.reset(token)


def _seconds_left() -> float:
    left = _ends_at.get() - time.thread_time()
    if left <= 0:
        raise TimeoutError
    return left


class Keywords:
    """The keywords of a draft with bounded cost, from jsonschema's own keywords (`stock`)."""

    def __init__(self, stock: Mapping[str, Keyword]) -> None:
        from jsonschema import ValidationError  # noqa: PLC0415
        from jsonschema.exceptions import relevance  # noqa: PLC0415
        from regex import search  # noqa: PLC0415

        self._stock = stock
        self._error, self._relevance, self._search = ValidationError, relevance, search

    def all(self) -> dict[str, Keyword]:
        ours: dict[str, Keyword] = {
            "additionalProperties": self._additional_properties,
            "anyOf": self._any_of,
            "format": self._format,
            "oneOf": self._one_of,
            "pattern": self._pattern,
            "patternProperties": self._pattern_properties,
            "unevaluatedItems": self._unevaluated("unevaluatedItems"),
            "unevaluatedProperties": self._unevaluated("unevaluatedProperties"),
            "uniqueItems": self._unique_items,
        }
        return {name: _timed(ours.get(name, keyword)) for name, keyword in self._stock.items()}

    def _matches(self, pattern: str, text: str) -> bool:
        return self._search(pattern, text, timeout=_seconds_left()) is not None

    def _pattern(self, validator: Any, pattern: Any, instance: Any, schema: Any) -> Errors:
        if validator.is_type(instance, "string") and not self._matches(pattern, instance):
            yield self._error(f"{instance!r} does not match {pattern!r}")

    def _pattern_properties(self, validator: Any, patterns: Any, instance: Any, schema: Any) -> Errors:
        if validator.is_type(instance, "object"):
            for pattern, subschema in patterns.items():
                for name, member in instance.items():
                    if self._matches(pattern, name):
                        yield from validator.descend(member, subschema, path=name, schema_path=pattern)

    def _additional_properties(self, validator: Any, value: Any, instance: Any, schema: Any) -> Errors | None:
        """Apply jsonschema's own keyword to the members that no pattern matches."""
        patterns = schema.get("patternProperties")
        if patterns and validator.is_type(instance, "object"):
            matched = {name for name in instance for pattern in patterns if self._matches(pattern, name)}
            instance = {name: member for name, member in instance.items() if name not in matched}
            schema = {name: member for name, member in schema.items() if name != "patternProperties"}
        return self._stock["additionalProperties"](validator, value, instance, schema)

    def _unevaluated(self, name: str) -> Keyword:
        def checked(validator: Any, value: Any, instance: Any, schema: Any) -> Errors | None:
            if isinstance(instance, dict | list) and len(instance) > MAX_UNEVALUATED:
                raise TooCostly(f"it has {len(instance):,} members, and {name} can be checked for {MAX_UNEVALUATED:,}")
            return self._stock[name](validator, value, instance, schema)

        return checked

    def _unique_items(self, validator: Any, is_unique: Any, instance: Any, schema: Any) -> Errors:
        if is_unique and validator.is_type(instance, "array"):
            # Compare texts, not items: an answer may contain numbers that are chosen to have equal hashes.
            different = {json.dumps(_canonical(item), sort_keys=True) for item in instance}
            if len(different) < len(instance):
                yield self._error(f"{short(repr(instance))} has non-unique elements")

    def _format(self, validator: Any, name: Any, instance: Any, schema: Any) -> Errors:
        checked = validator.format_checker.checkers
        if isinstance(instance, str) and len(instance) > MAX_FORMATTED and name in checked:
            yield self._error(f"{short(instance)!r} is not a {name!r}: it has more than {MAX_FORMATTED:,} characters")
        else:
            yield from self._stock["format"](validator, name, instance, schema) or ()

    def _any_of(self, validator: Any, schemas: Any, instance: Any, schema: Any) -> Errors:
        nearest: list[Any] = []
        for index, each in enumerate(schemas):
            found = self._nearest(validator.descend(instance, each, schema_path=index))
            if not found:
                return
            nearest += found
        yield self._under_none(instance, nearest)

    def _one_of(self, validator: Any, schemas: Any, instance: Any, schema: Any) -> Errors:
        nearest: list[Any] = []
        fitting: list[Any] = []
        for index, each in enumerate(schemas):
            found = self._nearest(validator.descend(instance, each, schema_path=index))
            nearest += found
            if not found:
                fitting.append(each)
        if not fitting:
            yield self._under_none(instance, nearest)
        elif len(fitting) > 1:
            yield self._error(f"{short(repr(instance))} is valid under each of {', '.join(map(repr, fitting))}")

    def _nearest(self, errors: Errors) -> list[Any]:
        """Return the errors that `best_match` chooses from: there may be too many to keep all of them in memory."""
        found = nsmallest(2, errors, key=self._relevance)
        for error in found:  # the errors of each level quote their instance
            error.message = short(error.message)
            error.args = (error.message,)
        return found

    def _under_none(self, instance: Any, errors: list[Any]) -> Any:
        text = f"{short(repr(instance))} is not valid under any of the given schemas"
        first, *others = self._nearest(iter(errors))
        is_choice = not others or self._relevance(first) != self._relevance(others[0])
        return self._error(text, context=[first] if is_choice else ())


def _timed(keyword: Keyword) -> Keyword:
    def checked(validator: Any, value: Any, instance: Any, schema: Any) -> Errors | None:
        _seconds_left()
        return keyword(validator, value, instance, schema)

    return checked


def _canonical(value: Any) -> Any:
    """Return a value such that values that are equal in JSON have equal texts: 1.0 equals 1, but true does not."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, dict):
        return {name: _canonical(member) for name, member in value.items()}
    return value
