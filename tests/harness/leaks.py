"""Find a word in the database: in any column of the package's tables, or of the admin's log."""

from __future__ import annotations

import json
from typing import Any

from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.db import models


def where(word: str, *, using: str = "default") -> set[str]:
    """Return each column, as Model.column, that contains the word in some row."""
    ours = apps.get_app_config("django_claude_batches").get_models()
    return {place for model in (*ours, LogEntry) for place in _in(model, word, using)}


def _in(model: type[models.Model], word: str, using: str) -> set[str]:
    rows: Any = model._base_manager.using(using).values()
    return {f"{model.__name__}.{column}" for row in rows for column, value in row.items() if word in _text(value)}


def _text(value: Any) -> str:
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode(errors="replace")
    return json.dumps(value, ensure_ascii=False, default=str)
