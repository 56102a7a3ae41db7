# For type checkers: the module imports each name when it is first used.
from __future__ import annotations

from .emulator import ClaudeEmulator
from .emulator.faults.bends import Bend
from .emulator.faults.random_bends import RandomBends
from .emulator.replies import (
    Reply,
    always,
    echo,
    failing,
    refusing,
    schema_shaped,
    scripted,
    thinking,
    truncated,
    using_tool,
)
from .emulator.validation.params import Failure
from .process import EmulatorProcess

__all__ = [
    "Bend",
    "ClaudeEmulator",
    "EmulatorProcess",
    "Failure",
    "RandomBends",
    "Reply",
    "always",
    "echo",
    "failing",
    "refusing",
    "schema_shaped",
    "scripted",
    "thinking",
    "truncated",
    "using_tool",
]
