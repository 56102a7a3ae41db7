"""Objects with a key twice are refused, in time that is linear in their members."""

from __future__ import annotations

import json

import pytest

from django_claude_batches.strict_json import decoded, members


class Key(str):
    """Counts how often it is compared with another object."""

    __slots__ = ()
    compared = 0

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Key.compared += 1
        return str.__eq__(self, other)


@pytest.mark.parametrize("last", ["k-0", "k-999"])
def test_the_cost_of_a_repeated_key_is_linear(last: str) -> None:
    pairs = [(Key(f"k-{number}"), 0) for number in range(1000)] + [(Key(last), 0)]
    Key.compared = 0
    with pytest.raises(ValueError, match=f"the key '{last}' occurs twice in one object"):
        members(pairs)
    assert Key.compared < 10 * len(pairs)


def test_the_first_of_several_repeated_keys_is_named() -> None:
    with pytest.raises(ValueError, match="the key 'b' occurs twice"):
        decoded(b'{"a": 1, "b": 2, "c": 3, "c": 4, "b": 5, "b": 6}')


def test_an_object_without_repeated_keys_is_as_json_has_it() -> None:
    data = {"a": {"a": [{"b": None}, {"b": 1.5}]}, "b": "\U0001f600"}
    assert decoded(json.dumps(data).encode()) == data
