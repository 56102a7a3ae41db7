"""A module that a setting names, and that fails in its own way when it is imported."""

from __future__ import annotations

raise KeyError("VAULT")
