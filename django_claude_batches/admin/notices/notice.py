"""A notice above the pages. It links only to pages that the user may view."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Notice:
    """A text, and a link to where the problem can be fixed; without a URL there is none."""

    text: str
    url: str = ""
    link: str = ""
