"""What is said of each thing that a diagnosis looks at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from django.core.checks import ERROR, CheckMessage


class CheckResult(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """Batches move; something is worse than it need be, or will be in the way one day."""
    FAILED = "failed"
    """Batches do not move, or what they bring cannot be stored, until a person fixes it."""
    SKIPPED = "skipped"
    """It could not be looked at, or is of no concern here."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at: `words` say how it is, `remedy` what to do, empty where nothing is to be done.

    `name` stays the same from release to release. `about` is the alias of the account or database of which it is said,
    empty where it is said of the installation as a whole.
    """

    name: str
    about: str
    verdict: CheckResult
    words: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class DiagnosisBuilder:
    """What something is said of."""

    about: str = ""

    def ok(self, name: str, words: str) -> Diagnosis:
        return Diagnosis(name, self.about, CheckResult.OK, words)

    def warning(self, name: str, words: str, remedy: str) -> Diagnosis:
        return Diagnosis(name, self.about, CheckResult.WARNING, words, remedy)

    def failed(self, name: str, words: str, remedy: str) -> Diagnosis:
        return Diagnosis(name, self.about, CheckResult.FAILED, words, remedy)

    def skipped(self, name: str, words: str) -> Diagnosis:
        return Diagnosis(name, self.about, CheckResult.SKIPPED, words)

    def from_messages(self, name: str, messages: list[CheckMessage], *, otherwise: str) -> Iterator[Diagnosis]:
        """Give what system checks say; where they say nothing, that all is well, in these words."""
        for message in messages:
            judge = self.failed if message.level >= ERROR else self.warning
            yield judge(name, message.msg, message.hint or "")
        if not messages:
            yield self.ok(name, otherwise)
