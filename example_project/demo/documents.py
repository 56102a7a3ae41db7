"""What the demo asks about: documents that nobody here wrote, and that every Python brings."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

from django.core.management import CommandError, call_command

from django_claude_batches.models import MessageBatch

KIND = "demo"


def draft_topics(account: str) -> MessageBatch:
    """Draft one request for each topic of Python's language reference, as `help("topics")` shows them."""
    try:
        from pydoc_data.topics import topics  # noqa: PLC0415 (some distributions leave it out)
    except ImportError:
        topics = {}
    if not topics:
        raise CommandError("This Python came without its language reference (pydoc_data): give --input FILE.jsonl.")
    requests = (_request(topic, text) for topic, text in sorted(topics.items()))
    return MessageBatch.objects.create_draft(requests, kind=KIND, label="Python's language reference", account=account)


def draft_file(path: str, account: str) -> MessageBatch:
    """Draft each line of a file in the API's own format, with the package's command: it names a bad line."""
    out = StringIO()
    named = ["--kind", KIND, "--label", Path(path).name[:200], "--account", account]
    call_command("claude_batches", "draft", path, *named, "--json", stdout=out)
    return MessageBatch.objects.get(pk=json.loads(out.getvalue())["batches"][0]["id"])


def _request(topic: str, text: str) -> dict[str, Any]:
    question = f"{text}\n\nSay in one sentence what this page of Python's language reference is about."
    return {
        "custom_id": topic,
        "params": {
            "model": "claude-haiku-4-5",
            "max_tokens": 100,
            "messages": [{"role": "user", "content": question}],
        },
    }
