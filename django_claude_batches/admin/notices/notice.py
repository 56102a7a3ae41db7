"""Notices above the pages. They link only to pages that the user may view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Notice:
    """A text, and a link to where the problem can be fixed; without a URL there is none."""

    text: str
    url: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class NoticeGroup:
    """Notices that unfold from one line; a single one is shown at once."""

    heading: str
    notices: Sequence[Notice]
