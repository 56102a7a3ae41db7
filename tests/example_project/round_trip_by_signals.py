"""Run the README's second example, rows and signals, from reviews to tags; started by test_sketches.py."""

from __future__ import annotations

from django.core.management import call_command
from reviews.models import Review
from reviews.tagging import tag_reviews

from django_claude_batches import services
from django_claude_batches.models import MessageBatch
from django_claude_batches.testing import ClaudeEmulator

call_command("migrate", verbosity=0)
kept, deleted, tagged = (Review.objects.create(text=text) for text in ("Warm.", "Cold.", "Itches."))
Review.objects.filter(pk=tagged.pk).update(tags="done")
with ClaudeEmulator(any_key=True) as claude:
    batch = tag_reviews()
    services.advance(batch)
    deleted.delete()
    claude.finish()
    services.advance(batch)
    other = MessageBatch.objects.create_draft(
        [
            {
                "custom_id": "x",
                "params": {
                    "model": "claude-haiku-4-5",
                    "max_tokens": 16,
                    "messages": [{"role": "user", "content": "?"}],
                },
            }
        ],
        kind="other",
    )
    services.advance(services.submit(other))
    claude.finish()
    services.advance(other)
kept.refresh_from_db()
tagged.refresh_from_db()
assert (batch.state, batch.last_error, batch.request_count) == ("ingested", "", 2), batch.last_error
assert (other.state, other.last_error) == ("ingested", ""), other.last_error
assert kept.tags == "Tag this review: Warm.", kept.tags
assert tagged.tags == "done", tagged.tags
print("round trip done")
