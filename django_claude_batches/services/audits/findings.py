"""The result of an audit: findings, each with a description and a remedy."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from django_claude_batches.models import MessageBatch


class FindingKind(StrEnum):
    #: Anthropic lists a batch that has no row.
    UNKNOWN_HERE = "unknown_here"
    #: Anthropic does not list a batch that has a row.
    UNKNOWN_THERE = "unknown_there"
    #: The key belongs to another Workspace than the one in which batches were created.
    OTHER_WORKSPACE = "other_workspace"
    #: The counts or the stored results of a final batch differ from Anthropic's counts.
    COUNTS_DIFFER = "counts_differ"
    #: Results that are not all stored can be fetched for at most two more days.
    ABOUT_TO_ARCHIVE = "about_to_archive"
    #: A batch whose deletion at Anthropic was requested is still listed.
    STILL_THERE = "still_there"


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference that an audit found: `words` describes it, `remedy` says what to do.

    `batch` is a primary key, `remote_id` an id at Anthropic; each may be missing.
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


# Findings of one kind that a report lists; further ones are only counted.
MAX_FINDINGS_PER_KIND = 100

# Findings that the account's row stores: the page of the account shows them.
MAX_STORED = 50
STORED_FIELDS = ("kind", "words", "remedy", "batch", "remote_id")


@dataclass(slots=True)
class AuditReport:
    """The result of the audit of one account.

    `listed` counts the batches that Anthropic listed, `asked_for` those that were retrieved one by one because they
    were not listed, and `refuted` those of them that exist all the same; `is_complete` says whether the listing was
    read to its end. `others` counts the batches without a row that are not reported because the account is SHARED.
    `needing` counts the findings that require a person, `left_out` those that are not listed because there were too
    many of their kind. `problem` is the error that ended the audit early.
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

    @property
    def stored(self) -> list[dict[str, Any]]:
        """The first findings that require a person, as the account's row stores them."""
        needing = [asdict(finding) for finding in self.findings if finding.needs_a_person]
        return [{name: finding[name] for name in STORED_FIELDS} for finding in needing[:MAX_STORED]]

    def add(self, finding: Finding) -> bool:
        """Count the finding; return whether it is listed too."""
        self.needing += finding.needs_a_person
        if sum(other.kind == finding.kind for other in self.findings) >= MAX_FINDINGS_PER_KIND:
            self.left_out += 1
            return False
        self.findings.append(finding)
        return True
