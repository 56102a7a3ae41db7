"""Jobs: which rows, what to ask, and what to do with the answer.

`BatchJob` is subclassed in an app's module `claude_jobs`, which is discovered like `admin`.
"""

from __future__ import annotations

from django_claude_batches.jobs.job import BatchJob

__all__ = ["BatchJob"]
