"""For tests: the Message Batches API on one's own machine. Needs nothing but the standard library.

    with ClaudeEmulator(replies=scripted({"42": "positive"})) as claude:
        ...                # ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY point at it: submit a batch
        claude.finish()    # the day passes; its results are there

The same as a command is `python -m django_claude_batches.testing`, as a process that can be killed `EmulatorProcess`,
and as a pytest fixture `claude_emulator`. `testing.jobs`, which is not imported here, takes a whole job through it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Each name, and the module that has it.
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
