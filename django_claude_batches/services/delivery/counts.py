from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from django_claude_batches.models import BatchRequest, ParkedResult


@dataclass(slots=True)
class Tally:
    """What became of the rows of one transaction of a delivery."""

    outcomes: Counter[str] = field(default_factory=Counter)
    handed: list[BatchRequest] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)
    delivered_before: int = 0
    """Those of the delivered ones that were counted at an earlier delivery."""
    failed: list[list[Any]] = field(default_factory=list)
    to_retry: list[list[Any]] = field(default_factory=list)
    passed_over: set[int] = field(default_factory=set)
    gone: int = 0
    parked: list[ParkedResult] = field(default_factory=list)
    first_error: Exception | None = None
