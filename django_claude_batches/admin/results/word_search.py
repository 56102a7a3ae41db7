"""Search words in the answers of one batch, which are read in pages, up to a number of rows or seconds."""

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
from django_claude_batches.db.keyset import chunked
from django_claude_batches.models import BatchResult, MessageBatch
from django_claude_batches.models.result import text_of

MAX_ROWS = 20_000
MAX_SECONDS = 3.0

# Results of the batch that one query reads. If a filter selects few of them, MariaDB takes 0.1 ms for each one read.
WINDOW_ROWS = 5_000


@dataclass(slots=True)
class WordSearch:
    """The outcome of a search: primary keys of matches, rows read, and long answers that were not read.

    `last` is the key at which the search stopped before the end; None if it read all rows.
    """

    pks: list[int] = field(default_factory=list)
    rows: int = 0
    long_answers: int = 0
    last: Any = None

    def describe(self, term: str) -> str:
        """Return a text that says what was searched."""
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
    results: Any,
    batch: MessageBatch,
    words: Iterable[str],
    *,
    after: str = "",
    max_rows: int = MAX_ROWS,
    max_seconds: float = MAX_SECONDS,
    window_rows: int = WINDOW_ROWS,
) -> WordSearch:
    """Find the batch's results with all of the words in their text or the message of their error, in reading order.

    The search begins after the key `after`, as a query string has it. Texts are compared here and not in the database:
    stored JSON also has keys, and on some databases escapes. Answers of more than 64 kB are counted and not read.
    """
    order, wanted = ReadingOrder(batch), list(words)
    found = WordSearch()
    end = time.monotonic() + max_seconds
    for page, reached in _pages(results, order, order.read_key(after), window_rows):
        texts = _texts(results.db, [pk for _at, pk, _size in page])
        found.last = reached
        for at, pk, size in page:
            found.rows += 1
            found.long_answers += (size or 0) > MAX_STORED_BYTES
            if all(word in texts.get(pk, "") for word in wanted):
                found.pks.append(pk)
            if found.rows >= max_rows or len(found.pks) >= MOST_FOUND:
                found.last = at
                return found
        if time.monotonic() >= end:
            return found
    found.last = None
    return found


def _pages(
    results: Any, order: ReadingOrder, start: Any, window_rows: int
) -> Iterator[tuple[list[tuple[Any, int, int | None]], Any]]:
    """Yield pages of results (key, primary key, stored size), each with the key up to which the batch was read.

    A page has at most 1,000 results, or 8 MB of answers that will be read. A query covers at most `window_rows`
    results of the batch: without an index for a filter, the database reads all of them to find a few, and the search
    must be able to stop in between.
    """
    every = BatchResult.objects.using(results.db).filter(batch=order.batch.pk)
    rows = results.annotate(size=stored_size())
    has_one = order.batch.request_count <= window_rows
    while True:
        stop = (
            None if has_one else order.after(every, start).values_list(order.key, flat=True)[window_rows - 1 :].first()
        )
        window = order.after(rows, start)
        if stop is not None:
            window = window.filter(**{f"{order.key}__lte": stop})
        sizes = list(window.values_list(order.key, "pk", "size")[:window_rows])
        for page in chunked(sizes, size=_read):
            yield page, page[-1][0]
        if len(sizes) == window_rows:
            stop = sizes[-1][0]
        if stop is None:
            return
        yield [], stop
        start = stop


def _read(row: tuple[Any, int, int | None]) -> int:
    size = row[2] or 0
    return size if size <= MAX_STORED_BYTES else 0


def _texts(using: str, pks: list[int]) -> dict[int, str]:
    """Return the text that is searched for each of these results, by primary key; unordered, which saves a join."""
    rows: Any = BatchResult.objects.using(using).filter(pk__in=pks).annotate(size=stored_size())
    found = rows.annotate(short_message=short_message()).values_list("pk", "short_message", "error_message")
    return {pk: f"{text_of(message)}\n{error}".casefold() for pk, message, error in found}


def _unquoted(word: str) -> str:
    is_quoted = word[:1] in "\"'" and len(word) > 1 and word[0] == word[-1]
    return unescape_string_literal(word) if is_quoted else word
