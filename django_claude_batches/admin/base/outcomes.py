"""Links from an outcome's count to its rows."""

from __future__ import annotations

from django_claude_batches.admin.base.permissions import Viewer
from django_claude_batches.models import BatchRequest, BatchResult
from django_claude_batches.models.batch.outcomes import method_of


def outcome_url(viewer: Viewer, batch_id: int, outcome: str) -> str:
    """Return the URL of a batch's rows with this outcome; empty if no list has them, or the user may not view it."""
    if outcome == "missing":
        return viewer.rows_url(BatchRequest, batch_id, outcome=outcome)
    method = method_of(outcome)
    return viewer.rows_url(BatchResult, batch_id, outcome=method) if method else ""
