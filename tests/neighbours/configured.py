"""A project that django-configurations starts: the settings are a class's, one of them computed."""

from __future__ import annotations

from configurations import Configuration

from tests.reliability import settings as ordinary


class Ours(Configuration):
    @property
    def CLAUDE_BATCHES(self) -> dict[str, object]:
        return ordinary.CLAUDE_BATCHES


for name, value in vars(ordinary).items():
    if name.isupper() and name != "CLAUDE_BATCHES":
        setattr(Ours, name, value)
