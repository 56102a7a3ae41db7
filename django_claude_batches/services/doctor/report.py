"""The results of `doctor`'s checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from django.core.checks import ERROR, CheckMessage


class CheckResult(StrEnum):
    OK = "ok"
    #: Batches are processed, but something works worse than it could, or will cause a problem later.
    WARNING = "warning"
    #: Batches are not processed, or their results cannot be stored, until a person fixes this.
    FAILED = "failed"
    #: The check could not run, or does not apply.
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of one check: `words` describes it, `remedy` says what to do and may be empty.

    `name` stays the same from release to release. `about` is the alias of the account or database that was checked,
    empty for the installation as a whole.
    """

    name: str
    about: str
    verdict: CheckResult
    words: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class DiagnosisBuilder:
    """Build the diagnoses of one subject."""

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
        """Convert messages of system checks; without any, yield an OK with the text `otherwise`."""
        for message in messages:
            judge = self.failed if message.level >= ERROR else self.warning
            yield judge(name, message.msg, message.hint or "")
        if not messages:
            yield self.ok(name, otherwise)
