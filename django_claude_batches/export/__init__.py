"""Results as files: JSONL, which loses nothing, and CSV for spreadsheets."""

from __future__ import annotations

from django_claude_batches.export.formats import CsvExport, JsonlExport

__all__ = ["CsvExport", "JsonlExport"]
