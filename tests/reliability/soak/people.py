"""Actions of people who use the app, and of strangers with the same key."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from django_claude_batches import services
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.models import AccountState, MessageBatch
from django_claude_batches.models.batch_state import EDITABLE, State
from django_claude_batches.testing import EmulatorProcess

# Requests of a batch: few, so that many a stranger's batch has as many.
LARGEST = 6

ONE_IN_SO_MANY_IS_WRONG = 20


def submit_new(random: Random, number: int) -> None:
    count = random.randint(1, LARGEST)
    items = (_item(f"{number}-{position}", random) for position in range(count))
    services.submit(MessageBatch.objects.create_draft(items, label=f"soak {number}"))


def _item(name: str, random: Random) -> dict[str, Any]:
    """A request with words of its own, by which its answer is known; some are errored when the batch ends."""
    model = "claude-unheard-of" if random.randrange(ONE_IN_SO_MANY_IS_WRONG) == 0 else "claude-haiku-4-5"
    messages = [{"role": "user", "content": f"Words of {name}."}]
    return {"custom_id": name, "params": {"model": model, "max_tokens": 64, "messages": messages}}


def retry(batch: MessageBatch) -> None:
    services.submit(services.retry(batch))


# The services, and the states for which they are called. InvalidTransition is ignored: the row has changed meanwhile.
WISHES: dict[str, tuple[Callable[[MessageBatch], object], tuple[State, ...]]] = {
    "cancel": (services.cancel, (State.QUEUED, State.SUBMITTING, State.UNCERTAIN, State.IN_PROGRESS)),
    "delete": (services.delete_remote, (State.UNCERTAIN, State.IN_PROGRESS, State.ENDED, State.INGESTED)),
    "discard": (lambda batch: services.delete_remote(batch, discard_results=True), (State.ENDED, State.INCOMPLETE)),
    "abandon": (services.abandon, (State.UNCERTAIN,)),
    "retry": (retry, (State.INGESTED,)),
    "submit again": (services.submit, tuple(EDITABLE)),
}


def wish(random: Random) -> str:
    """Call a random service for a row whose state allows it; return its name."""
    name = random.choice(list(WISHES))
    wanted, states = WISHES[name]
    newest = MessageBatch.objects.filter(state__in=states).order_by("-pk").values_list("pk", flat=True)[:100]
    if pks := list(newest):
        with suppress(ClaudeBatchesError):
            wanted(MessageBatch.objects.get(pk=random.choice(pks)))
    return name


def resume_all() -> None:
    """Act as an operator: fix the key or the bill, and resume the account."""
    for alias in AccountState.objects.filter(paused_at__isnull=False).values_list("alias", flat=True):
        services.resume(alias)


def stranger(claude: EmulatorProcess, random: Random) -> None:
    claude.add_stranger(random.randint(1, LARGEST))
