"""Result lines of 2.1 KB on average: 97 % succeeded, 2 % errored, 1 % expired, in random order, the same each time."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

# The number of different answers: enough for realistic compression ratios of gzip, pglz and lz4.
POOL = 2048

MODELS = ("claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001", "claude-opus-4-1-20250805")
SYLLABLES = ["ba", "con", "de", "ri", "ta", "mo", "ven", "sta", "lu", "per", "qui", "no", "sil"]
SYLLABLES += ["tra", "fe", "gon", "hi", "jo", "kel", "zu", "wa", "ex", "or", "an", "is"]
ENDS = ("",) * 30 + (",",) * 3 + (".", ".", ".\n\n", " \u2014 caf\u00e9")
ERROR = {
    "type": "error",
    "error": {
        "type": "invalid_request_error",
        "message": "max_tokens: 999999 > 64000, which is the maximum allowed",
    },
    "request_id": "req_011CT0000000000000000000",
}


def encoded(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


ERRORED = encoded({"type": "errored", "error": ERROR})
EXPIRED = encoded({"type": "expired"})


def build(custom_ids: Iterable[bytes], *, large_mb: int = 0) -> tuple[bytes, Counter[str]]:
    """Return all lines as JSONL, and the counts; the answer of the first line has `large_mb` megabytes, if given."""
    ids = list(custom_ids)
    rng = random.Random(len(ids))
    rng.shuffle(ids)
    counts: Counter[str] = Counter()
    parts: list[bytes] = []
    for number, custom_id in enumerate(ids):
        kind, result = _outcome(rng)
        if large_mb and number == 0:
            kind, result = "succeeded", _large(large_mb, rng)
        counts[kind] += 1
        parts += (b'{"custom_id":"', custom_id, b'","result":', result, b"}\n")
    return b"".join(parts), counts


def _outcome(rng: random.Random) -> tuple[str, bytes]:
    dice = rng.random()
    if dice < 0.02:
        return "errored", ERRORED
    if dice < 0.03:
        return "expired", EXPIRED
    return "succeeded", _pool()[rng.randrange(POOL)]


@lru_cache(maxsize=1)
def _pool() -> list[bytes]:
    rng = random.Random(7)
    vocabulary = ["".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 4))) for _ in range(6000)]
    return [encoded(_succeeded(_text(rng, vocabulary), MODELS[number % 3], rng)) for number in range(POOL)]


def _text(rng: random.Random, vocabulary: list[str]) -> str:
    count = rng.randint(150, 300)
    return " ".join(vocabulary[int(len(vocabulary) * rng.random() ** 5)] + rng.choice(ENDS) for _ in range(count))


def _large(megabytes: int, rng: random.Random) -> bytes:
    """Make one answer of this size from many texts, because a repeated word would compress to almost nothing."""
    texts = [json.loads(rng.choice(_pool()))["message"]["content"][0]["text"] for _ in range(512)]
    text = "\n".join(texts)
    text *= megabytes * 1_000_000 // len(text.encode()) + 1
    return encoded(_succeeded(text[: megabytes * 1_000_000], MODELS[0], rng))


def _succeeded(text: str, model: str, rng: random.Random) -> dict[str, Any]:
    usage = {
        "input_tokens": rng.randint(200, 900),
        "output_tokens": int(text.count(" ") * 1.3),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "service_tier": "batch",
    }
    message = {
        "id": f"msg_01{rng.getrandbits(88):022x}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    return {"type": "succeeded", "message": message}
