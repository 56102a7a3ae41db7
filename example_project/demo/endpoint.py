"""The server that answers: the emulator, or with `--live` and a key, Anthropic."""

from __future__ import annotations

import os
from typing import NamedTuple
from urllib.parse import urlsplit

from django.core.management import CommandError

from django_claude_batches import conf
from django_claude_batches.client.validation import is_loopback
from django_claude_batches.models import JobRun, MessageBatch, State
from django_claude_batches.models.run import WORKING

# The alias of the account whose API is the emulator.
EMULATOR = "emulator"


class Endpoint(NamedTuple):
    account: str
    is_emulator: bool
    """Whether the demo starts it."""
    url: str = ""
    """Where it is; empty for the emulator, which has no address yet."""


def choose(*, live: bool) -> Endpoint:
    """Give the endpoint; raise CommandError rather than reach the live API without having been told to."""
    if not os.environ.get("ANTHROPIC_API_KEY", "").strip():
        if live:
            raise CommandError("--live needs a key: set ANTHROPIC_API_KEY.")
        return Endpoint(EMULATOR, is_emulator=True)
    url = conf.account(conf.DEFAULT_ACCOUNT).base_url
    if not is_loopback(urlsplit(url).hostname or "") and not live:
        raise CommandError(
            f"ANTHROPIC_API_KEY is set: this would send the requests to {url}, which bills them. Say --live if you "
            "mean that, or unset the variable: without a key the demo runs on an emulator on this machine."
        )
    _refuse_to_send_others(conf.DEFAULT_ACCOUNT)
    return Endpoint(conf.DEFAULT_ACCOUNT, is_emulator=False, url=url)


def _refuse_to_send_others(account: str) -> None:
    """The demo's worker sends whatever is queued; with a key, only what this run drafts may be."""
    waiting = list(MessageBatch.objects.filter(account=account, state=State.QUEUED)[:10])
    if waiting:
        names = " ".join(str(batch.pk) for batch in waiting)
        raise CommandError(
            f"Batches of an earlier day are waiting to be sent, and this run would send them too. Take them back "
            f"first: manage.py claude_batches cancel {names}"
        )
    running = JobRun.objects.filter(account=account, state__in=WORKING, paused_at__isnull=True).first()
    if running is not None:
        raise CommandError(
            f"Run {running} is not over, and this one would send what is left of it too. Pause it first: manage.py "
            f"claude_batches pause-run {running.pk}"
        )
