"""The jobs that are registered in this process, each with its last run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Max
from django.utils.safestring import SafeString

from django_claude_batches import job_registry
from django_claude_batches.admin.base.permissions import Viewer
from django_claude_batches.admin.runs.display import run_state
from django_claude_batches.models import JobRun


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job as its class declares it; `model` and `words` are empty if not declared."""

    name: str
    words: str
    model: str
    account: str
    last: JobRun | None

    @property
    def last_state(self) -> SafeString | str:
        return "" if self.last is None else run_state(self.last)


def visible_jobs(viewer: Viewer) -> list[str]:
    """Return the names of the jobs in the accounts that the user may see, sorted."""
    jobs: dict[str, Any] = {name: job_registry.find(name) for name in job_registry.names()}
    return [name for name, job in jobs.items() if viewer.sees(job.account)]


def job_list(viewer: Viewer) -> list[ListedJob]:
    """Return the jobs that the user may see, by name; one query for any number."""
    names = visible_jobs(viewer)
    runs = viewer.rows(JobRun)
    last = runs.filter(job__in=names).order_by().values("job").annotate(last=Max("pk")).values("last")
    found = {run.job: run for run in runs.filter(pk__in=last)}
    return [_listed(name, found.get(name)) for name in names]


def _listed(name: str, last: JobRun | None) -> ListedJob:
    job: Any = job_registry.find(name)
    return ListedJob(name, _words(type(job)), str(getattr(job, "claude_model", "")), job.account, last)


def _words(job: type) -> str:
    """Return the first line of the class's own docstring, not of an inherited one."""
    own = (job.__dict__.get("__doc__") or "").strip()
    return own.partition("\n")[0].strip()
