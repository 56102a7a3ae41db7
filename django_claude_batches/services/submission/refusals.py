"""Decide whether a refused create call concerns the account or the batch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from django_claude_batches.exceptions import About, APIStatusError
from django_claude_batches.models import MessageBatch, SubmitAttempt

# The timeline event of a batch whose refusal paused its account because of its text alone, which is its text.
ACCOUNT_PAUSED = "account_paused"

ACCOUNT_WORDS = re.compile(r"\b(billing|credits?|quotas?|plans?|organi[sz]ations?|workspaces?)\b", re.IGNORECASE)

_QUOTED = re.compile(r"""(?s)"([^"]{3,})"|'([^']{3,})'|`([^`]{3,})`|“([^”]{3,})”""")
_TOKEN = re.compile(r"[^\s\"'`“”,;!?()<>{}\[\]]+")
# A field of the request, such as `requests.0.params.plan`: it says nothing about an account.
_FIELD = re.compile(r"[\w-]+(\.[\w-]+)+:?")

MAX_QUOTED = 20
TAKEN_OUT = "…"


def classify(error: APIStatusError, batch: MessageBatch, attempt: SubmitAttempt) -> tuple[About, str]:
    """Return what a refusal is about, and the text that decided it; that only for errors that no table knows.

    Such an error is about the account if it mentions billing, credit, quota, a plan, an organization or a Workspace
    outside of quoted values of the request. But the same text for the same batch again is about the batch: it came back
    after a person resumed the account, and one batch must not pause all others repeatedly.
    """
    if error.about is not About.ITS_WORDS:
        return error.about, ""
    words = account_words(error.message, batch, attempt)
    if not words or _paused_before(batch, words):
        return About.BATCH, ""
    return About.ACCOUNT, words


def account_words(message: str, batch: MessageBatch, attempt: SubmitAttempt) -> str:
    """Return the message without values of the batch and of a single call; empty if it does not mention the account.

    Words with a digit differ from call to call: ids, times, amounts.
    """
    if not ACCOUNT_WORDS.search(message):
        return ""
    words = _without_tokens(_without_quoted(message, batch), batch, attempt)
    if not ACCOUNT_WORDS.search(words):
        return ""
    return " ".join(word for word in words.split() if not any(letter.isdigit() for letter in word))


def _paused_before(batch: MessageBatch, words: str) -> bool:
    events = batch.events.using(MessageBatch.objects.primary().db).filter(what=ACCOUNT_PAUSED)
    return words in events.values_list("text", flat=True)  # compared in Python: MariaDB's comparison ignores case


def _without_quoted(message: str, batch: MessageBatch) -> str:
    """Remove quoted text that appears in a request of the batch."""
    for match in list(_QUOTED.finditer(message))[:MAX_QUOTED]:
        quoted = next(filter(None, match.groups()))
        as_json = json.dumps(quoted, ensure_ascii=False)[1:-1]
        requests = batch.requests.using(MessageBatch.objects.primary().db)
        if ACCOUNT_WORDS.search(quoted) and requests.filter(params_text__contains=as_json).exists():
            message = message.replace(match[0], TAKEN_OUT)
    return message


def _without_tokens(message: str, batch: MessageBatch, attempt: SubmitAttempt) -> str:
    """Remove custom_ids (tagged or not), models, headers we sent, and field names."""
    ours = _ours(_TOKEN.findall(message), batch, attempt)

    def replaced(match: re.Match[str]) -> str:
        token = match[0].rstrip(".:")
        return TAKEN_OUT if token in ours or _FIELD.fullmatch(match[0].rstrip(".")) else match[0]

    return _TOKEN.sub(replaced, message)


def _ours(tokens: Iterable[str], batch: MessageBatch, attempt: SubmitAttempt) -> set[str]:
    """Return which of these are values of the batch. A bare word such as "plan" never is, even if it is a custom_id."""
    candidates = {token.rstrip(".:") for token in tokens}
    candidates = {token for token in candidates if not ACCOUNT_WORDS.fullmatch(token)}
    requests = batch.requests.using(MessageBatch.objects.primary().db).order_by()
    found = {token for token in candidates if token.startswith(f"{attempt.tag}_")}
    found |= {*requests.filter(custom_id__in=candidates).values_list("custom_id", flat=True)}
    found |= {*requests.filter(model__in=candidates).values_list("model", flat=True).distinct()}
    sent_as_headers = {*batch.betas, batch.user_profile_id, batch.anthropic_version, attempt.workspace_id}
    return found | (sent_as_headers & candidates)
