"""Requests as people bring them: one a line, or a table with a prompt. Only read here; nothing is stored."""

from __future__ import annotations

from django_claude_batches.files.prompt import BadPrompt, Prompt, Question, read_schema
from django_claude_batches.files.request_file import BadRow, RequestFile
from django_claude_batches.files.survey import Survey
from django_claude_batches.files.table import DELIMITERS

__all__ = ["DELIMITERS", "BadPrompt", "BadRow", "Prompt", "Question", "RequestFile", "Survey", "read_schema"]
