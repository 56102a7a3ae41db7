"""Test tools: an emulator of the Message Batches API on your own machine, from the standard library alone.

    with ClaudeEmulator(replies=scripted({"42": "positive"})) as claude:
        ...                # ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY point at it: submit a batch
        claude.finish()    # the batch ends, and its results can be fetched

The emulator also runs as a command (`python -m django_claude_batches.testing`), as a process that a test can kill
(`EmulatorProcess`), and as the pytest fixture `claude_emulator`. `testing.jobs.run_job`, which needs Django and is not
imported here, runs a whole job with it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# The module of each name.
WHERE = {
    "Bend": ".emulator.faults.bends",
    "ClaudeEmulator": ".emulator",
    "EmulatorProcess": ".process",
    "Failure": ".emulator.validation.params",
    "RandomBends": ".emulator.faults.random_bends",
    "Reply": ".emulator.replies",
    "always": ".emulator.replies",
    "echo": ".emulator.replies",
    "failing": ".emulator.replies",
    "refusing": ".emulator.replies",
    "schema_shaped": ".emulator.replies",
    "scripted": ".emulator.replies",
    "thinking": ".emulator.replies",
    "truncated": ".emulator.replies",
    "using_tool": ".emulator.replies",
}
__all__ = list(WHERE)


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: pytest imports this package for its plugin, also in unrelated suites."""
    if name not in WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(WHERE[name], __name__), name)
    globals()[name] = found
    return found
