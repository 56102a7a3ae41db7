"""The repository itself: imports, docs, packaging."""
