"""What an audit finds: small facts in people's words, with what to do about each."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from django_claude_batches.models import MessageBatch


class FindingKind(StrEnum):
    UNKNOWN_HERE = "unknown_here"
    """Anthropic lists a batch that no row is."""
    UNKNOWN_THERE = "unknown_there"
    """A row's batch is not listed at Anthropic."""
    OTHER_WORKSPACE = "other_workspace"
    """The key sees another Workspace than the one that rows were made in."""
    COUNTS_DIFFER = "counts_differ"
    """A final batch's counts, or its stored results, are not what Anthropic counted."""
    ABOUT_TO_ARCHIVE = "about_to_archive"
    """Results that are not all rows can be fetched for two more days at most."""
    STILL_THERE = "still_there"
    """A batch that was to be deleted at Anthropic is still listed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that an audit found: `words` say what is, `remedy` what to do.

    `batch` is a primary key of ours, `remote_id` an id of Anthropic's, each where there is one.
    """

    kind: FindingKind
    account: str
    words: str
    remedy: str
    batch: int | None = None
    remote_id: str = ""
    needs_a_person: bool = True


def finding_for(
    row: MessageBatch, kind: FindingKind, words: str, remedy: str, *, needs_a_person: bool = True
) -> Finding:
    return Finding(kind, row.account, words, remedy, row.pk, str(row.anthropic_id), needs_a_person)


MAX_FINDINGS_PER_KIND = 100
"""Findings of one kind that a report names; what is beyond them is counted."""


@dataclass(slots=True)
class AuditReport:
    """What the audit of one account found.

    `listed` counts the batches that Anthropic showed, `asked_for` those that were asked for one by one because it did
    not, and `refuted` those of them that are there all the same; `is_complete` says whether the listing was read to its
    end. `others` counts the batches that no row is and that are not named, because the account is SHARED. `needing`
    counts the findings that need a person, `left_out` those that are not named because there were too many of their
    kind. `problem` is what ended the audit before its time.
    """

    account: str
    listed: int = 0
    asked_for: int = 0
    refuted: int = 0
    is_complete: bool = False
    others: int = 0
    needing: int = 0
    left_out: int = 0
    problem: str = ""
    findings: list[Finding] = field(default_factory=list)

    def add(self, finding: Finding) -> bool:
        """Count the finding, and give whether it is named too."""
        self.needing += finding.needs_a_person
        if sum(other.kind == finding.kind for other in self.findings) >= MAX_FINDINGS_PER_KIND:
            self.left_out += 1
            return False
        self.findings.append(finding)
        return True
