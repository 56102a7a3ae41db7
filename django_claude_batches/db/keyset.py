"""Read rows in bounded pages by keyset pagination, and split iterables into bounded lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any, TypeVar

from django.db import models
from django.db.models.expressions import Combinable

# Rows per page, for reads and writes. Pages of 5,000 rows need 70 MB more and are no faster (docs/performance.md).
PAGE_ROWS = 1000

# Bytes, or characters, of large columns per page, so that large rows are read a few at a time.
PAGE_BYTES = 8_000_000

M = TypeVar("M", bound=models.Model)
T = TypeVar("T")


def chunked(
    items: Iterable[T],
    count: int = PAGE_ROWS,
    *,
    size: Callable[[T], int] = lambda _item: 0,
    max_size: int = PAGE_BYTES,
) -> Iterator[list[T]]:
    """Yield lists of at most `count` items, whose sizes add up to at most `max_size`. A larger item has its own list.

    A list of `count` items is yielded before the next item is read.
    """
    chunk: list[T] = []
    total = 0
    for item in items:
        item_size = size(item)
        if chunk and total + item_size > max_size:
            yield chunk
            chunk, total = [], 0
        chunk.append(item)
        total += item_size
        if len(chunk) == count:
            yield chunk
            chunk, total = [], 0
    if chunk:
        yield chunk


def pages(
    rows: models.QuerySet[M, T], key: str, *columns: str, size: int = PAGE_ROWS
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the key and these columns of short rows, in pages of `size`, one query each; `key` is unique.

    Django's `.iterator()` is not used: its memory is not bounded with every driver, and behind a transaction pooler its
    server-side cursors do not belong to one client, and return rows of other processes' queries.
    """
    ahead = rows = rows.order_by(key)
    while page := list(ahead.values_list(key, *columns)[:size]):
        yield page
        if len(page) < size:
            return
        ahead = rows.filter(**{f"{key}__gt": page[-1][0]})


def sized_pages(rows: models.QuerySet[M, T], key: str, size: Combinable) -> Iterator[models.QuerySet[M, T]]:
    """Yield querysets of the rows in the order of `key`, which is unique: pages of at most 1,000 rows or about 8 MB.

    `size` is the number of bytes of a row. As in `pages`, no server-side cursor is used.
    """
    ahead = rows = rows.order_by(key)
    while sizes := list(ahead.values_list(key, size)[:PAGE_ROWS]):
        last = next(chunked(sizes, size=itemgetter(1), max_size=PAGE_BYTES))[-1][0]
        yield ahead.filter(**{f"{key}__lte": last})
        ahead = rows.filter(**{f"{key}__gt": last})
