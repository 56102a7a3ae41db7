"""Signals for your code; the package connects none of its own.

The sender is `MessageBatch`, the argument `batch`. They are sent after commit, in the process that did the work: a
Celery worker, so connect receivers in an `AppConfig.ready()` that the worker loads too.
"""

from __future__ import annotations

from django.dispatch import Signal

# Anthropic accepted the batch: it has an `anthropic_id` now.
batch_submitted = Signal()

# Processing ended at Anthropic; the results are about to be fetched.
batch_ended = Signal()

# All results are stored. Sent at least once: receivers must be idempotent.
results_ingested = Signal()

# The batch was refused, or its results are lost.
batch_failed = Signal()

# A create call got no answer: the batch may be running, and is not sent again.
submission_uncertain = Signal()

# Two remote batches exist for one row; both ids are on its attempts.
duplicate_detected = Signal()
