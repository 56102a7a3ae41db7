"""Stream and decode results without storing them."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable

from tests.benchmarks.steps.clock import Clock


def by_results(url: str, id: str) -> Callable[[], int]:
    from django_claude_batches.client import BatchesClient

    client = BatchesClient(api_key="any", base_url=url)
    return lambda: sum(1 for _line in client.results(id))


def by_lines(url: str, id: str) -> Callable[[], int]:
    from django_claude_batches.client import BatchesClient

    client = BatchesClient(api_key="any", base_url=url)

    def decode() -> int:
        with client.result_lines(id) as lines:
            return sum(bool(json.loads(line.data)) for line in lines)

    return decode


def by_sdk(url: str, id: str) -> Callable[[], int]:
    import anthropic

    client = anthropic.Anthropic(api_key="any", base_url=url)
    return lambda: sum(1 for _line in client.messages.batches.results(id))


if __name__ == "__main__":
    ways = {"results": by_results, "lines": by_lines, "sdk": by_sdk}
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=ways)
    parser.add_argument("id")
    options = parser.parse_args()
    decode = ways[options.way](os.environ["ANTHROPIC_BASE_URL"], options.id)
    clock = Clock()
    lines = decode()
    clock.stop()
    clock.report(lines)
