"""Worker processes that are forked from one, like Celery's: `python -m tests.reliability.databases.forked`."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import django

# The maximum, because an exit code is a byte.
MOST = 255


def main(verb: str, processes: int, batches: int) -> int:
    """Do the verb in forked processes, each for every nth batch; return how many batches failed."""
    django.setup()
    work = {"send": send, "fetch": fetch}[verb]
    children = [_fork(work, range(number, batches, processes)) for number in range(processes)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return min(sum(map(abs, codes)), MOST)


def _fork(work: Callable[[int], None], numbers: range) -> int:
    if child := os.fork():
        return child
    failed = 0
    for number in numbers:
        try:
            work(number)
        except BaseException:  # noqa: BLE001 (the child must not return)
            traceback.print_exc()
            failed += 1
    sys.stderr.flush()
    os._exit(min(failed, MOST))


def send(number: int) -> None:
    """Draft and send a batch about the reviews of this number, as the README does."""
    from django_claude_batches import services
    from django_claude_batches.models import MessageBatch
    from tests.harness.library.models import Review

    def ask(review: Review) -> dict[str, Any]:
        messages = [{"role": "user", "content": f"Tag this review: {review.text}"}]
        # The custom_ids are the same in each batch, so that a row of another one would fit.
        return {"target": review, "params": {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": messages}}

    reviews = Review.objects.filter(effects=number)
    batch = MessageBatch.objects.create_draft(map(ask, reviews.iterator()), label=str(number))
    services.advance(services.submit(batch))


def fetch(number: int) -> None:
    """Fetch a batch, and store the answers with the README's receiver."""
    from django_claude_batches import services
    from django_claude_batches.models import MessageBatch
    from django_claude_batches.signals import results_ingested

    results_ingested.connect(store_tags)
    services.advance(MessageBatch.objects.get(label=str(number)))


def store_tags(sender: Any, batch: Any, **kwargs: Any) -> None:
    for result in batch.results.succeeded().with_target().iterator(chunk_size=20):
        if result.target is not None:
            result.target.tags = result.text
            result.target.save(update_fields=["tags"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
