"""Following a listing: it ends, whatever the server says the next page is."""

from __future__ import annotations

from typing import Any

import pytest

from django_claude_batches.client.paging import last_id, last_listed_id, list_pages
from django_claude_batches.client.transport import Reply

NEXT = {None: "a", "a": "b", "b": "a"}


def page(last: Any, *, has_more: bool = True, ids: tuple[str, ...] = ("x",)) -> Reply[Any]:
    return Reply({"data": [{"id": id_} for id_ in ids], "has_more": has_more, "first_id": None, "last_id": last}, None)


def fetched(next_: Any, **options: Any) -> list[Any]:
    """Return the cursors by which pages were fetched."""
    cursors: list[Any] = []

    def fetch(cursor: str | None) -> Reply[Any]:
        cursors.append(cursor)
        return next_(cursor)

    for _reply in list_pages(fetch, **options):
        assert len(cursors) < 20, "it does not end"
    return cursors


def test_pages_in_a_circle_end() -> None:
    assert fetched(lambda cursor: page(NEXT[cursor])) == [None, "a", "b"]


def test_max_pages_are_read() -> None:
    assert fetched(lambda cursor: page(f"{cursor}+"), max_pages=3) == [None, "None+", "None++"]


@pytest.mark.parametrize("last", [None, ""])
def test_a_page_without_a_cursor_is_the_last(last: str | None) -> None:
    assert fetched(lambda _cursor: page(last)) == [None]
    assert last_id(page("a", has_more=False).data) is None


def test_a_cursor_that_cannot_be_hashed_reaches_fetch_once() -> None:
    assert fetched(lambda _cursor: page(["a"])) == [None, ["a"]]


def test_the_last_listed_batch_leads_on_whatever_the_server_calls_it() -> None:
    assert last_listed_id(page("other", ids=("x", "y")).data) == "y"
    assert last_listed_id(page("other", ids=()).data) is None
