"""What the emulator's Claude says in this project: the longer words that come most often in a text are its tags."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from django_claude_batches.testing import echo

TAGS = 3

WORD = re.compile(r"[a-z]{5,}")

otherwise = echo()


def answer(params: dict[str, Any], custom_id: str) -> Any:
    """Answer with tags where the schema has them, else with an echo."""
    schema = params.get("output_config", {}).get("format", {}).get("schema", {})
    if "tags" not in schema.get("properties", {}):
        return otherwise(params, custom_id)
    _, _, text = params["messages"][-1]["content"].partition("\n")
    words = [word for word, _count in Counter(WORD.findall(text.lower())).most_common(TAGS)]
    return {"tags": words or ["short"]}
