"""A project started by django-configurations: its settings are in a class, one of them computed."""

from __future__ import annotations

from configurations import Configuration

from tests.reliability.project import settings as ordinary


class Ours(Configuration):
    @property
    def CLAUDE_BATCHES(self) -> dict[str, object]:
        return ordinary.CLAUDE_BATCHES


for name, value in vars(ordinary).items():
    if name.isupper() and name != "CLAUDE_BATCHES":
        setattr(Ours, name, value)
