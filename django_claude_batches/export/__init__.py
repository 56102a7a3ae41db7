"""Export results as JSONL or CSV."""

from __future__ import annotations

from django_claude_batches.export.formats import CsvExport, JsonlExport

__all__ = ["CsvExport", "JsonlExport"]
