"""Settings for pages: an invalid setting does not break the page, and a notice shows the failed check."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django_claude_batches.conf import ConfigurationError

Read = TypeVar("Read")
Default = TypeVar("Default")


def known(read: Callable[[], Read], default: Default) -> Read | Default:
    """Return what `read` reads from the settings; the default if they are invalid."""
    try:
        return read()
    except ConfigurationError:
        return default
