"""Run the job from reviews to tags; started by test_reviews.py and test_sketches.py with the example's settings."""

from __future__ import annotations

from django.core.management import call_command
from reviews.claude_jobs import TagReviews
from reviews.models import Review

from django_claude_batches.models import BatchResult
from django_claude_batches.testing import always
from django_claude_batches.testing.jobs import run_job

call_command("migrate", verbosity=0)
review, tagged = (Review.objects.create(text=text) for text in ("Warm.", "Itches."))
Review.objects.filter(pk=tagged.pk).update(tags="done")
run = run_job(TagReviews, replies=always({"tags": ["warm", "soft"]}))
review.refresh_from_db()
tagged.refresh_from_db()
assert (run.state, run.row_count) == ("finished", 1)
assert (review.tags, tagged.tags) == ("warm, soft", "done")
result = BatchResult.objects.get()
assert result.output == {"tags": ["warm", "soft"]}
[message] = result.request.params["messages"]
assert message["content"] == "Tag this review:\nWarm.", message
assert result.request.params["output_config"]["format"]["type"] == "json_schema"
print("round trip done")
