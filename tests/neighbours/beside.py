"""A project with a neighbour, another package that users install, and the steps of a batch in it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field

from django_claude_batches.models import BatchResult, MessageBatch, State
from tests.harness import databases
from tests.harness.factories import item
from tests.reliability.site import Site
from tests.reliability.web import BATCH, Visitor

RESULTS_LIST = "admin:django_claude_batches_batchresult_changelist"
LISTS = [
    f"admin:django_claude_batches_{model}_changelist"
    for model in ("messagebatch", "batchresult", "batchrequest", "jobrun", "accountstate")
]


@dataclass(frozen=True)
class Neighbour:
    """A neighbour's name, its module, and the differences of a project that uses it.

    `instead` maps words of the commands that start a project to their replacements in this one.
    """

    name: str
    module: str
    database: str = databases.SQLITE
    environment: str = "neighbours"
    variables: dict[str, str] = field(default_factory=dict)
    instead: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


class BesideNeighbour(Site):
    """A `Site` whose processes run in the neighbour's project."""

    instead: dict[str, str] = {}

    def start(self, *command: str, **variables: str) -> subprocess.Popen[bytes]:
        return super().start(*(self.instead.get(word, word) for word in command), **variables)

    def run(self, *command: str) -> str:
        """Run a Python process to its end, and return its output. Raise AssertionError unless it exits with 0."""
        process = self.start(*command)
        said = self.folder / f"{len(self._processes) - 1}.log"
        assert process.wait(timeout=60) == 0, said.read_text()
        return said.read_text()

    def manage(self, *words: str) -> str:
        return self.run("-m", "django", *words)

    def draft(self) -> MessageBatch:
        """Draft a batch with a command."""
        path = self.folder / "requests.jsonl"
        path.write_text("".join(json.dumps(item(number)) + "\n" for number in range(3)))
        self.manage("claude_batches", "draft", str(path))
        return MessageBatch.objects.get()

    def complete(self, batch: MessageBatch, visitor: Visitor) -> None:
        """Submit it in the admin, wait for the workers, and open its pages in the admin."""
        visitor.does("submit", batch.pk)
        self.until(lambda: MessageBatch.objects.get(pk=batch.pk).state == State.IN_PROGRESS)
        self.claude.finish()
        self.until(lambda: self.is_complete(batch), do=self.let_due_times_come)
        self.check()
        assert BatchResult.objects.succeeded().count() == 3
        assert "Complete" in visitor.opens(BATCH, batch.pk)
        for name in LISTS:
            visitor.opens(name)
