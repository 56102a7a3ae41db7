"""Find words in the answers of one batch: read page by page, up to a number of rows or seconds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.utils.text import smart_split, unescape_string_literal
from django.utils.translation import ngettext

from django_claude_batches.admin.base.custom_id_search import MOST_FOUND
from django_claude_batches.admin.results.excerpts import MAX_STORED_BYTES, short_message, stored_size
from django_claude_batches.admin.results.reading_order import ReadingOrder
from django_claude_batches.db.keyset import PAGE_ROWS, chunked
from django_claude_batches.models import BatchResult, MessageBatch
from django_claude_batches.models.result import text_of

MAX_ROWS = 20_000
MAX_SECONDS = 3.0


@dataclass(slots=True)
class WordSearch:
    """What a search read and found. `last` is the key at which it stopped before the end; None if it read all rows."""

    pks: list[int] = field(default_factory=list)
    rows: int = 0
    long_answers: int = 0
    last: Any = None

    def describe(self, term: str) -> str:
        """Say what was searched."""
        read = ngettext(
            "The text of %(n)s result, for “%(term)s”.", "The text of %(n)s results, for “%(term)s”.", self.rows
        )
        said = [read % {"n": f"{self.rows:,}", "term": term}]
        if self.long_answers:
            some = ngettext("%(n)s long answer was not read.", "%(n)s long answers were not read.", self.long_answers)
            said.append(some % {"n": f"{self.long_answers:,}"})
        return " ".join(said)


def words_of(text: str) -> list[str]:
    """Return the words of a search; a text in quotation marks counts as one."""
    words = (_unquoted(word) for word in smart_split(text))
    return [word.casefold() for word in words if word]


def search_batch(
    results: Any, batch: MessageBatch, words: list[str], *, after: str = "", max_rows: int, max_seconds: float
) -> WordSearch:
    """Search the batch's results in reading order, after the key that a query string has."""
    order = ReadingOrder(batch)
    start = order.read_key(after)
    rows = order.ordered(results) if start is None else order.after(results, start)
    return search_answers(rows, order.key, words, max_rows=max_rows, max_seconds=max_seconds)


def search_answers(
    results: Any, key: str, words: Iterable[str], *, max_rows: int = MAX_ROWS, max_seconds: float = MAX_SECONDS
) -> WordSearch:
    """Find the results with all of the words in their text or the message of their error, in the order of the key.

    The stored JSON is not compared: it also has keys, and other characters are escapes in it on some databases.
    Answers of more than 64 kB are counted and not read.
    """
    wanted = list(words)
    found = WordSearch()
    end = time.monotonic() + max_seconds
    for page in _pages(results, key):
        texts = _texts(results.db, [pk for _at, pk, _size in page])
        for at, pk, size in page:
            found.rows += 1
            found.last = at
            found.long_answers += (size or 0) > MAX_STORED_BYTES
            if all(word in texts.get(pk, "") for word in wanted):
                found.pks.append(pk)
            if found.rows >= max_rows or len(found.pks) >= MOST_FOUND:
                return found
        if time.monotonic() >= end:
            return found
    found.last = None
    return found


def _pages(results: Any, key: str) -> Iterator[list[tuple[Any, int, int | None]]]:
    """Yield the key, the primary key and the stored size of the results: at most 1,000, or 8 MB of what is read."""
    ahead = rows = results.annotate(size=stored_size()).order_by(key)
    while sizes := list(ahead.values_list(key, "pk", "size")[:PAGE_ROWS]):
        yield from chunked(sizes, size=_read)
        if len(sizes) < PAGE_ROWS:
            return
        ahead = rows.filter(**{f"{key}__gt": sizes[-1][0]})


def _read(row: tuple[Any, int, int | None]) -> int:
    size = row[2] or 0
    return size if size <= MAX_STORED_BYTES else 0


def _texts(using: str, pks: list[int]) -> dict[int, str]:
    """Return what is searched of these results, by primary key: without the order, and so without its join."""
    rows: Any = BatchResult.objects.using(using).filter(pk__in=pks).annotate(size=stored_size())
    found = rows.annotate(short_message=short_message()).values_list("pk", "short_message", "error_message")
    return {pk: f"{text_of(message)}\n{error}".casefold() for pk, message, error in found}


def _unquoted(word: str) -> str:
    is_quoted = word[:1] in "\"'" and len(word) > 1 and word[0] == word[-1]
    return unescape_string_literal(word) if is_quoted else word
