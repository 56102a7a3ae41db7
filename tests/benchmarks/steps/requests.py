"""The requests that all ways draft: 2.1 KB of JSON each, the same in each run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

TEXTS = 1024


class Requests:
    """Yields `(custom_id, params)`. The texts are made when it is created, which is not timed."""

    def __init__(self, count: int) -> None:
        self._count = count
        rng = random.Random(3)
        vocabulary = [_word(rng) for _ in range(5000)]
        self._texts = [" ".join(vocabulary[int(5000 * rng.random() ** 5)] for _ in range(330)) for _ in range(TEXTS)]

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for number in range(self._count):
            content = f"Ticket {number}: " + self._texts[(number * 7919) % TEXTS]
            yield (
                f"item-{number}",
                {
                    "model": "claude-sonnet-4-5-20250929",
                    "max_tokens": 1024,
                    "temperature": 0.2,
                    "system": "You are a careful analyst. Classify the ticket and answer with short JSON only.",
                    "messages": [{"role": "user", "content": content}],
                },
            )


def _word(rng: random.Random) -> str:
    return "".join(rng.choice("bcdfglmnprst") + rng.choice("aeiou") for _ in range(rng.randint(1, 4)))
