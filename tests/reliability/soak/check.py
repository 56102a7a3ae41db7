"""Compare the rows with the server's ledger: payments made twice, lost results, stuck rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from django_claude_batches.models import BatchEvent, BatchResult, MessageBatch, SubmitAttempt
from django_claude_batches.models.batch_state import State

from .run import moving

Ledger = dict[str, Any]


@dataclass
class Findings:
    """A line of text for each row concerned."""

    duplicates: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)

    # States that require a person, or that a person requested.
    explained: Counter[str] = field(default_factory=Counter)

    @property
    def violations(self) -> int:
        return len(self.duplicates) + len(self.lost) + len(self.stuck)


def check(ledger: Ledger) -> Findings:
    findings = Findings()
    attempts = {attempt.tag: attempt for attempt in SubmitAttempt.objects.select_related("batch")}
    _paid_once(ledger, attempts, findings)
    _owned(ledger, attempts, findings)
    _complete(ledger, findings)
    _own_answers(findings)
    for batch in moving():
        findings.stuck.append(f"{_about(batch)}, next at {batch.next_action_at}")
    for state in (State.ABANDONED, State.HELD, State.REJECTED, State.DRAFT, State.LOST):
        findings.explained[f"{state}: {EXPLAINED[state]}"] += MessageBatch.objects.filter(state=state).count()
    findings.explained = +findings.explained
    return findings


EXPLAINED = {
    State.ABANDONED: "abandoned by a person, and nothing landed",
    State.HELD: "not received, to be submitted again by a person",
    State.REJECTED: "refused, to be submitted again by a person",
    State.DRAFT: "taken back by a person",
    State.LOST: "deleted without fetching the results, as a person requested",
}


def _paid_once(ledger: Ledger, attempts: dict[str, SubmitAttempt], findings: Findings) -> None:
    """At most one batch for each tag, and one tag for each row, has landed."""
    made = Counter(batch["tag"] for batch in ledger["batches"] if not batch["stranger"])
    of_row: defaultdict[int | None, list[str]] = defaultdict(list)
    for tag, count in made.items():
        if tag not in attempts:
            findings.duplicates.append(f"a batch with the tag {tag!r} that no attempt has")
            continue
        of_row[attempts[tag].batch_id] += [tag] * count
    for row, tags in of_row.items():
        if len(tags) > 1:
            findings.duplicates.append(f"batch {row} was made {len(tags)} times, with {tags}\n{_history(row)}")
    for event in BatchEvent.objects.filter(what="duplicate"):
        findings.duplicates.append(f"batch {event.batch_id}: {event.text}")


def _owned(ledger: Ledger, attempts: dict[str, SubmitAttempt], findings: Findings) -> None:
    """Check that each batch belongs to its row, and strangers' batches to none."""
    rows = {batch.anthropic_id: batch for batch in MessageBatch.objects.exclude(anthropic_id=None)}
    for remote in ledger["batches"]:
        row, attempt = rows.get(remote["id"]), attempts.get(remote["tag"])
        owner = attempt.batch if attempt is not None else None
        if remote["stranger"] and row is not None:
            findings.lost.append(f"{_about(row)}: has a stranger's batch")
        elif not remote["stranger"] and (row is None or row != owner):
            about = f"{_about(owner)}\n{_history(owner.pk)}" if owner else "nobody's"
            findings.lost.append(f"{remote['id']} is paid, and not its row's: {about}")


def _complete(ledger: Ledger, findings: Findings) -> None:
    """Each request of a complete batch has its one row, if ever the server sent its line."""
    sent = defaultdict(set)
    for download in ledger["downloads"]:
        sent[download["batch_id"]] |= {custom_id.partition("_")[2] for custom_id in download["custom_ids"]}
    for batch in MessageBatch.objects.filter(state=State.INGESTED):
        stored = BatchResult.objects.filter(batch=batch).values_list("request__custom_id", flat=True)
        wanted = set(batch.requests.values_list("custom_id", flat=True))
        if None in stored or len(stored) != len(set(stored)):
            findings.lost.append(f"{_about(batch)}: rows that answer no request, or one twice")
        missing = wanted - set(stored)
        if missing & sent[str(batch.anthropic_id)]:
            findings.lost.append(f"{_about(batch)}: sent and not stored: {missing}")
        elif len(missing) != batch.missing_count:
            findings.lost.append(f"{_about(batch)}: {missing} are missing, {batch.missing_count} said")
        elif missing:
            findings.explained["ingested: lines that the server never sent, in all tries, and said to be missing"] += 1
    for batch in MessageBatch.objects.filter(state=State.LOST, discard_results=False):
        findings.lost.append(f"{_about(batch)}: nobody deleted it")


def _own_answers(findings: Findings) -> None:
    """An answer repeats its request's words: it is another's if they are not in it."""
    for result in BatchResult.objects.filter(result_type="succeeded").select_related("request", "batch").iterator():
        request = result.request
        if request is not None and request.params["messages"][0]["content"] not in result.text:
            findings.lost.append(f"{_about(result.batch)}: {request.custom_id} has another's answer: {result.text!r}")


def _about(batch: MessageBatch) -> str:
    return f"batch {batch.pk}, {batch.state}, {batch.anthropic_id}: {batch.last_error}"


def _history(row: int | None) -> str:
    """Give a batch's timeline and attempts, by which a duplicate can be understood."""
    events = [f"    {event.at:%H:%M:%S.%f} {event}" for event in BatchEvent.objects.filter(batch=row)]
    attempts = [f"    {vars(attempt)}" for attempt in SubmitAttempt.objects.filter(batch=row)]
    return "\n".join(events + attempts)
