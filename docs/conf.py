"""Sphinx's settings."""

from __future__ import annotations

from importlib import metadata

project = "django_claude_batches"
author = "The django_claude_batches authors"
copyright = "The django_claude_batches authors"  # noqa: A001 (Sphinx's name)
version = release = metadata.version("django-claude-batches")

extensions = ["myst_parser"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"django_claude_batches {release}"
# Fonts, scripts and inventories of other hosts are not fetched: the pages build, and read, without a network.
