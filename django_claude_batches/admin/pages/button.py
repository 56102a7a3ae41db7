"""A button on a row's page: it submits an action, or leads to another page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Button:
    """`name` is the action's value in `field`, posted to `url` or else to the list; of a link, `url` is its address."""

    name: str
    label: Any
    url: str = ""
    field: str = "action"
    is_link: bool = False
    is_primary: bool = False
