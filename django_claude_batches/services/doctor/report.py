"""The results of `doctor`'s checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
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


# Accepted difference between clocks: the time between two ticks, and far more than a query takes.
MAX_CLOCK_DIFFERENCE = timedelta(seconds=30)


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

    def from_clocks(self, name: str, apart: timedelta, clock: str, other: str, remedy: str) -> Diagnosis:
        """Return whether two clocks, named as in a sentence, agree; `apart` is how far the first is ahead."""
        if abs(apart) <= MAX_CLOCK_DIFFERENCE:
            return self.ok(name, f"{clock} goes with {other}.")
        how = "ahead of" if apart > timedelta(0) else "behind"
        return self.warning(name, f"{clock} is {abs(apart).total_seconds():,.0f} s {how} {other}.", remedy)
