"""What the demo has done by its worker: a job over reviews, or a file of requests."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from typing import NamedTuple, Protocol

from django.db.models import QuerySet
from rich.console import Console

from django_claude_batches.models import MessageBatch


class Progress(NamedTuple):
    label: str
    done: int
    total: int
    next_look_at: datetime | None = None
    """When the worker asks Anthropic again."""


class Errand(Protocol):
    unit: str
    """What is counted of it, in a participle."""

    account: str

    def shown(self) -> AbstractContextManager[MessageBatch]:
        """Return a draft of what it will send. If it is not confirmed, it is deleted and cannot be submitted."""

    def begin(self) -> None: ...

    def leave(self) -> None:
        """Leave nothing behind that the next worker would send."""

    def look(self) -> Progress:
        """Read its rows, and say how far it is."""

    def is_over(self) -> bool:
        """Whether nothing more happens to it by itself, when it was last looked at."""

    def problem(self) -> str:
        """Say what is not as it should be; nothing where all is done."""

    def batches(self) -> QuerySet[MessageBatch]: ...

    def introduction(self) -> str: ...

    def tell(self, console: Console, *, rows: int, seconds: float) -> None:
        """Print what came of it."""

    def path(self) -> str:
        """Give its page's path within the admin."""
