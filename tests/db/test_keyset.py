"""Items are split into lists of bounded number and size."""

from __future__ import annotations

import pytest

from django_claude_batches.db.keyset import chunked


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([1, 1, 1], [[1, 1, 1]]),
        ([1, 1, 1, 1], [[1, 1, 1], [1]]),
        ([4, 6, 1], [[4, 6], [1]]),
        ([5, 6, 5], [[5], [6], [5]]),
        ([1, 99, 1, 1], [[1], [99], [1, 1]]),
    ],
)
def test_a_list_is_bounded_by_count_and_by_size_and_a_larger_item_is_alone(
    sizes: list[int], expected: list[list[int]]
) -> None:
    assert list(chunked(sizes, 3, size=int, max_size=10)) == expected


def test_a_full_list_is_yielded_before_the_next_item_is_read() -> None:
    items = iter(range(5))
    assert next(chunked(items, 2)) == [0, 1]
    assert next(items) == 2
