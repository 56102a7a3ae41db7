"""Select a page of a listing (`docs/reference/wire.md` §3.3)."""

from __future__ import annotations

from . import errors


def page_of(
    ids: list[str], *, limit: int, after_id: str | None, before_id: str | None, kind: str = "Message Batch"
) -> tuple[slice, bool]:
    """Return the page's part of `ids`, newest first, and whether there is more in its direction.

    `kind` names the objects. The page is right after `after_id` (older), or right before `before_id` (newer). An
    unknown cursor is refused.
    """
    if before_id is not None:
        end = _position(ids, before_id, name="before_id", kind=kind)
        start = max(0, end - limit)
        return slice(start, end), start > 0
    start = 0 if after_id is None else _position(ids, after_id, name="after_id", kind=kind) + 1
    return slice(start, start + limit), start + limit < len(ids)


def _position(ids: list[str], cursor: str, *, name: str, kind: str) -> int:
    try:
        return ids.index(cursor)
    except ValueError:
        raise errors.cursor_unknown(name, cursor, kind=kind) from None
