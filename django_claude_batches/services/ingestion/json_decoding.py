"""Decode the JSON of a line, and report what Python's parser silently drops. No I/O."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

Pairs = list[tuple[str, Any]]


@dataclass(slots=True)
class Decoded:
    """A JSON value. For a repeated key the last value counts, as in Python; `lossy` is then true.

    A number that a float cannot hold (too many digits, too large, too small) is lossy, too.
    """

    value: Any = None
    lossy: bool = False
    _repeats: list[tuple[dict[str, Any], Pairs]] = field(default_factory=list)

    def is_ambiguous(self, key: str) -> bool:
        """Return whether the outermost object repeats this key with different values."""
        outermost = [pairs for made, pairs in self._repeats if made is self.value]
        return any(name == key and value != self.value[key] for pairs in outermost for name, value in pairs)

    def make(self, pairs: Pairs) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            self.lossy = True
            self._repeats.append((made, pairs))
        return made

    def number(self, text: str) -> float:
        value = float(text)
        if value == 0:
            self.lossy |= text.lower().partition("e")[0].strip("-0.") != ""
        else:
            # Short of infinity, so that Decimal takes its exponent, too.
            self.lossy |= not math.isfinite(value) or Decimal(repr(value)) != Decimal(text)
        return value


def decode(data: bytes) -> Decoded:
    """Decode the line. Raise ValueError if it is not JSON, RecursionError if it is nested too deeply."""
    decoded = Decoded()
    decoded.value = json.loads(data, object_pairs_hook=decoded.make, parse_float=decoded.number)
    return decoded
