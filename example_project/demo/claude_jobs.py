"""The job of `reviews`, at the two places where the demo runs it. Found as that one is: by the name of this module."""

from __future__ import annotations

from reviews.claude_jobs import TagReviews


class TagReviewsAtEmulator(TagReviews):
    """For the emulator that the demo starts. An interrupted run does not block the next one."""

    account = "emulator"
    allow_overlap = True


class TagReviewsLive(TagReviews):
    """At Anthropic: each row is asked once, so that it costs no more than was agreed to."""

    max_attempts = 1
