"""For tests: the Message Batches API on one's own machine. Needs nothing but the standard library."""

from __future__ import annotations

from .emulator import ClaudeEmulator
from .emulator.judging import Failure
from .emulator.replies import Reply, echo, failing, refusing, schema_shaped, scripted, thinking, truncated, using_tool

__all__ = [
    "ClaudeEmulator",
    "Failure",
    "Reply",
    "echo",
    "failing",
    "refusing",
    "schema_shaped",
    "scripted",
    "thinking",
    "truncated",
    "using_tool",
]
