"""The jobs of the project, by their names: what stands above the services is reached through here.

A batch's `kind` is its job's name. Whoever handles one calls `register`; `jobs.BatchJob` does it for its subclasses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol


class Job(Protocol):
    """What a service asks of a job. `on_…` are the project's own code, and may raise anything."""

    name: ClassVar[str]
    account: ClassVar[str]
    allow_overlap: ClassVar[bool]
    rows_are_replicas: ClassVar[bool]
    skip_unaskable: ClassVar[bool]
    max_attempts: ClassVar[int]

    @classmethod
    def problems(cls) -> list[str]:
        """Say what is wrong with its declaration, for the system checks."""

    @classmethod
    def warnings(cls) -> list[str]:
        """Say what a person should change in it, though the job runs as it is."""

    @classmethod
    def declared_params(cls) -> Mapping[str, Any]:
        """Return the params that are known without a row; may be empty."""

    @property
    def row_model(self) -> Any:
        """The model of `get_queryset`'s rows, a proxy too; None for a job without `get_queryset`."""

    def get_queryset(self) -> Any: ...
    def get_targets(self, pks: Sequence[Any], /) -> Any:
        """Fetch rows of `row_model` anew, by their primary keys."""

    def make_params(self, obj: Any, /) -> Mapping[str, Any]: ...
    def get_betas(self, obj: Any, /) -> Iterable[str]: ...
    def read_output(self, result: Any, /) -> str | None:
        """Check the answer, set its `output`, and give what is wrong with it in words; None where it fits."""

    def more_tokens(self, max_tokens: int, /) -> int | None:
        """Give the `max_tokens` to ask a truncated answer again with; None where there are no more."""

    def on_result(self, obj: Any, result: Any, /) -> object: ...
    def on_failure(self, obj: Any, result: Any, /) -> object: ...
    def on_finished(self, run: Any, /) -> object: ...


class NameTaken(ValueError):
    """Two jobs have one name: batches of the one would be handed to the other."""


_jobs: dict[str, type[Job]] = {}


def register(job: type[Job]) -> None:
    """Make a job known by its name; raise NameTaken where another class has it. A class again replaces itself."""
    known = _jobs.get(job.name)
    if known is not None and _path(known) != _path(job):
        raise NameTaken(
            f'{_path(job)} and {_path(known)} are both named "{job.name}": set another `name` on one of them.'
        )
    _jobs[job.name] = job


def unregister(name: str) -> None:
    """Make a job unknown, as if its code were gone."""
    _jobs.pop(name, None)


def find(name: str) -> Job | None:
    """Give the job of that name, ready to be asked; None where this process knows none."""
    job = _jobs.get(name)
    return None if job is None else job()


def unknown_job_message(name: str) -> str:
    """Say that nobody here knows the job, and which are known."""
    return f'No job is named "{name}" here (known: {", ".join(names()) or "none"}).'


def problems() -> list[tuple[type[Job], str]]:
    """Give what is wrong with the declarations of all jobs."""
    return [(job, problem) for _name, job in sorted(_jobs.items()) for problem in job.problems()]


def warnings() -> list[tuple[type[Job], str]]:
    """Give what should be changed in the declarations of all jobs."""
    return [(job, warning) for _name, job in sorted(_jobs.items()) for warning in job.warnings()]


def declared_params() -> list[tuple[type[Job], Mapping[str, Any]]]:
    """Return each job with the params that its class sets for all its requests."""
    return [(job, job.declared_params()) for _name, job in sorted(_jobs.items())]


def names() -> list[str]:
    """Give the names of all jobs that this process knows, sorted."""
    return sorted(_jobs)


def _path(job: type) -> str:
    return f"{job.__module__}.{job.__qualname__}"
