"""Tests of the repository: imports, docs, packaging."""
