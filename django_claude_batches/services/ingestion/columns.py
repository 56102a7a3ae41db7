"""Which columns of a result come from its message. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_claude_batches.models.bulk_rows import ResultRow
from django_claude_batches.sanitize import Cleaner
from django_claude_batches.services.ingestion.billed_usage import fill_usage, mapping


def fill(row: ResultRow, message: Mapping[str, Any], cleaner: Cleaner) -> None:
    """Set the row's columns that come from the message, but for the message itself."""
    usage = mapping(message.get("usage"))
    row.model = cleaner.short_text(message.get("model"), 100)
    row.stop_reason = cleaner.short_text(message.get("stop_reason"), 60)
    fill_usage(row, usage, message.get("model"))
    row.service_tier = cleaner.short_text(usage.get("service_tier"), 40)
    row.inference_geo = cleaner.short_text(usage.get("inference_geo"), 40)
