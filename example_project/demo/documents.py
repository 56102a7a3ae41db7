"""What the demo asks about: documents that come with each Python, or a file."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

from django.core.management import CommandError, call_command
from reviews.models import Review

from django_claude_batches.models import MessageBatch

KIND = "demo"
MODEL = "claude-haiku-4-5"


def put_reviews(*, most: int | None = None) -> None:
    """Store each topic of Python's language reference as an untagged review, or the first; those of before go."""
    try:
        from pydoc_data.topics import topics  # noqa: PLC0415 (some distributions leave it out)
    except ImportError:
        topics = {}
    if not topics:
        raise CommandError("This Python came without its language reference (pydoc_data): give --input FILE.jsonl.")
    Review.objects.filter(product__in=list(topics)).delete()
    reviews = [Review(product=topic, text=text) for topic, text in sorted(topics.items())[:most]]
    Review.objects.bulk_create(reviews)


def draft_file(path: str, account: str, prompt: str | None) -> MessageBatch:
    """Draft each line of a file in the API's own format, or the prompt about each row of a CSV file.

    With the package's command, which names a bad line or row.
    """
    out = StringIO()
    named = ["--kind", KIND, "--label", Path(path).name[:200], "--account", account]
    asked = [] if prompt is None else ["--prompt", prompt, "--model", MODEL]
    call_command("claude_batches", "draft", path, *named, *asked, "--json", stdout=out)
    return MessageBatch.objects.get(pk=json.loads(out.getvalue())["batches"][0]["id"])
