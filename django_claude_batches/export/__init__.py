"""Results as files: JSONL, which loses nothing, and CSV for spreadsheets."""
