"""Read requests from files: JSON Lines, or a CSV table with a prompt. Nothing is stored."""

from __future__ import annotations

from django_claude_batches.request_files.check_report import CheckReport
from django_claude_batches.request_files.csv_table import DELIMITERS
from django_claude_batches.request_files.prompt import BadPrompt, Prompt, Question, read_schema
from django_claude_batches.request_files.request_file import BadRow, RequestFile

__all__ = ["DELIMITERS", "BadPrompt", "BadRow", "CheckReport", "Prompt", "Question", "RequestFile", "read_schema"]
