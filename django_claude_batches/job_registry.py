"""Registry of the project's jobs by name. Services reach jobs through it.

A batch's job is found by its `kind`. `jobs.BatchJob` registers its subclasses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol


class Job(Protocol):
    """The interface of a job for services. `on_…` are the project's own code, and may raise anything."""

    name: ClassVar[str]
    account: ClassVar[str]
    allow_overlap: ClassVar[bool]
    rows_are_replicas: ClassVar[bool]
    skip_unaskable: ClassVar[bool]
    max_attempts: ClassVar[int]

    @classmethod
    def problems(cls) -> list[str]:
        """Return what is wrong with its declaration, for the system checks."""

    @classmethod
    def warnings(cls) -> list[str]:
        """Return what a person should change in it, though the job can run."""

    @classmethod
    def declared_params(cls) -> Mapping[str, Any]:
        """Return the params that are known without a row; may be empty."""

    @property
    def row_model(self) -> Any:
        """The model of `get_queryset`'s rows, also a proxy; None for a job without `get_queryset`."""

    def get_queryset(self) -> Any: ...
    def get_targets(self, pks: Sequence[Any], /) -> Any:
        """Fetch rows of `row_model` again, by their primary keys."""

    def make_params(self, obj: Any, /) -> Mapping[str, Any]: ...
    def get_betas(self, obj: Any, /) -> Iterable[str]: ...
    def read_output(self, result: Any, /) -> str | None:
        """Validate the answer, set its `output`, and return what is wrong with it; None if it fits."""

    def more_tokens(self, max_tokens: int, /) -> int | None:
        """Return the `max_tokens` for retrying a truncated answer; None if there are no more."""

    def on_result(self, obj: Any, result: Any, /) -> object: ...
    def on_failure(self, obj: Any, result: Any, /) -> object: ...
    def on_finished(self, run: Any, /) -> object: ...


class NameTaken(ValueError):
    """Two jobs have one name: batches of one would be delivered to the other."""


_jobs: dict[str, type[Job]] = {}


def register(job: type[Job]) -> None:
    """Register a job by its name; raise NameTaken if another class has it. Registering a class again replaces it."""
    known = _jobs.get(job.name)
    if known is not None and _path(known) != _path(job):
        raise NameTaken(
            f'{_path(job)} and {_path(known)} are both named "{job.name}": set another `name` on one of them.'
        )
    _jobs[job.name] = job


def unregister(name: str) -> None:
    """Remove a job from the registry, as if its code were gone."""
    _jobs.pop(name, None)


def find(name: str) -> Job | None:
    """Return an instance of the job of that name; None if this process knows none."""
    job = _jobs.get(name)
    return None if job is None else job()


def unknown_job_message(name: str) -> str:
    """Return the message that the job is not known here, with the known ones."""
    return f'No job is named "{name}" here (known: {", ".join(names()) or "none"}).'


def problems() -> list[tuple[type[Job], str]]:
    """Return what is wrong with the declarations of all jobs."""
    return [(job, problem) for _name, job in sorted(_jobs.items()) for problem in job.problems()]


def warnings() -> list[tuple[type[Job], str]]:
    """Return what should be changed in the declarations of all jobs."""
    return [(job, warning) for _name, job in sorted(_jobs.items()) for warning in job.warnings()]


def declared_params() -> list[tuple[type[Job], Mapping[str, Any]]]:
    """Return each job with the params that its class sets for all its requests."""
    return [(job, job.declared_params()) for _name, job in sorted(_jobs.items())]


def names() -> list[str]:
    """Return the names of all jobs that this process knows, sorted."""
    return sorted(_jobs)


def _path(job: type) -> str:
    return f"{job.__module__}.{job.__qualname__}"
