"""Sphinx configuration."""

from __future__ import annotations

from importlib import metadata

import django
from django.conf import settings

# autodoc imports the models, which requires configured settings.
settings.configure(INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_claude_batches"])
django.setup()

project = "django_claude_batches"
author = "The django_claude_batches authors"
copyright = "The django_claude_batches authors"  # noqa: A001 (Sphinx's name)
version = release = metadata.version("django-claude-batches")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
autodoc_typehints = "none"
default_role = "code"
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"django_claude_batches {release}"
# No intersphinx or external assets: the pages are built and read without a network.
