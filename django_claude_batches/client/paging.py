"""Follow a listing from page to page: the one loop, for `BatchesClient.list_all` and for the services.

A caller decides which id leads to the next page and how many pages are read, and stops when it has what it needs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

from django_claude_batches.client.transport import Reply
from django_claude_batches.wire import Page


def last_id(page: Page) -> str | None:
    """Return the id behind which the next page begins, by the server's own word; None after the last page."""
    return (page["last_id"] or None) if page["has_more"] else None


def last_listed_id(page: Page) -> str | None:
    """Return the id of the page's last batch, whatever the server calls it; None after the last page."""
    return page["data"][-1]["id"] if page["has_more"] and page["data"] else None


def list_pages(
    fetch: Callable[[str | None], Reply[Page]],
    cursor: str | None = None,
    *,
    next_cursor: Callable[[Page], str | None] = last_id,
    max_pages: int = sys.maxsize,
) -> Iterator[Reply[Page]]:
    """Yield a listing page by page, each by a call of `fetch(cursor)` when it is asked for.

    A page without a next cursor is the last one, and so is one whose next cursor a page before it had.
    """
    seen: set[str] = set()
    for _page in range(max_pages):
        reply = fetch(cursor)
        yield reply
        cursor = next_cursor(reply.data)
        key = repr(cursor)  # a server may send a cursor that cannot be hashed, which `fetch` refuses
        if cursor is None or key in seen:
            return
        seen.add(key)
