from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from django.db import InterfaceError, OperationalError, models, router

from django_claude_batches import job_registry, services, tasks
from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.jobs.validation import key_problem, method_problems
from django_claude_batches.models import BatchResult, JobRun, MessageBatch
from django_claude_batches.output_schema import BadSchema, InvalidOutput, OutputSchema
from django_claude_batches.sanitize import Cleaner, get_logger
from django_claude_batches.services.job_calls import sync_result

logger = get_logger(__name__)

DEFAULT_MAX_TOKENS = 1024
"""Tokens of an answer, unless the job says how many."""

CAP = 4
"""Times the job's `max_tokens` that a truncated answer may have in the end, unless the job says otherwise."""

NAME = re.compile(r"[a-zA-Z0-9_-]{1,100}")

_schemas: dict[type[BatchJob], OutputSchema] = {}


class BatchJob:
    """Which rows, what to ask about each, and what to do with the answer.

    Write `get_queryset`, `get_prompt` (or `get_params` for the whole body) and `on_result`. A subclass is known by its
    name as soon as it is defined, unless it says `abstract=True`. Each call is made on an instance of its own: keep
    nothing on it.

    `on_result`, `on_failure` and `on_finished` may be `async def`; no other method may. A class whose methods are
    coroutine functions or generator functions where nothing would run them raises TypeError when it is defined.
    """

    name: ClassVar[str] = ""
    """The `kind` of its batches, by which a worker finds the job again: the class's name in the form `tag-reviews`,
    unless set. Set it before you rename the class."""

    claude_model: ClassVar[str] = ""
    max_tokens: ClassVar[int] = DEFAULT_MAX_TOKENS
    max_tokens_cap: ClassVar[int | None] = None
    """Tokens up to which a truncated answer is asked for again, twice as many each time; four times `max_tokens`
    unless set."""
    system: ClassVar[str] = ""
    output_schema: ClassVar[Any] = None
    """A JSON Schema as a dictionary, or a pydantic model: each answer has to fit it."""
    account: ClassVar[str] = "default"
    betas: ClassVar[Iterable[str]] = ()
    allow_overlap: ClassVar[bool] = False
    """Whether a run may start while another one is active."""
    rows_are_replicas: ClassVar[bool] = False
    """Whether rows that `get_queryset` reads from another database are those of the database that its model is
    written to, where the handlers find them again. Otherwise such rows are refused."""
    skip_unaskable: ClassVar[bool] = False
    """Whether a row that cannot be asked, because a method raises or the API would refuse its request, is left out of
    the run and counted. Otherwise the first one pauses the run."""
    max_attempts: ClassVar[int] = 3
    """How often a row is asked at most, by itself."""

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if found := method_problems(cls):
            raise TypeError(" ".join(found))
        if "name" not in cls.__dict__:
            cls.name = "" if abstract else _named_after(cls.__name__)
        if not abstract:
            job_registry.register(cls)

    def get_queryset(self) -> models.QuerySet[Any]:
        """Give the rows to ask about, in any order, unsliced; called for each page. Each row is drafted once."""
        raise NotImplementedError

    def get_targets(self, pks: Sequence[Any], /) -> models.QuerySet[Any]:
        """Return the rows with these primary keys, of the model of `get_queryset`, as they are now: for the handlers.

        One call, so one query, for the many rows of a transaction, and within it; one more call where a handler
        raised, to see whether its row was deleted meanwhile. By default the rows are those of the model's base manager,
        whole, from the database that the model is written to. A row that is not returned counts as deleted, and its
        handler is not called. What this raises costs each of the rows as an error of its handler does.
        """
        model: Any = self.row_model
        return model._base_manager.using(router.db_for_write(model)).filter(pk__in=pks)  # type: ignore[no-any-return]

    @cached_property
    def row_model(self) -> type[models.Model] | None:
        """The model of `get_queryset`'s rows, which is asked for once; None where it gives none.

        It may raise when answers are delivered, a day after they were asked for: they are delivered all the same.
        """
        if type(self).get_queryset is BatchJob.get_queryset:
            return None
        try:
            return sync_result(self, "get_queryset", self.get_queryset()).model
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            logger.exception("%s.get_queryset() raised: rows are read by their own models.", type(self).__name__)
            return None

    def get_prompt(self, obj: Any, /) -> str:
        """Give what the user's message says about the row."""
        raise NotImplementedError

    def get_params(self, obj: Any, /) -> Mapping[str, Any]:
        """Give the body of the Messages call about the row, but for the output schema, which is added to it."""
        params: dict[str, Any] = {
            "model": self.claude_model,
            "max_tokens": self.max_tokens,
            "messages": [{"role": "user", "content": self._prompt(obj)}],
        }
        return {**params, "system": self.system} if self.system else params

    def _prompt(self, obj: Any) -> str:
        prompt: Any = sync_result(self, "get_prompt", self.get_prompt(obj))
        if not isinstance(prompt, str) or not prompt.strip():
            given = "an empty one" if isinstance(prompt, str) else type(prompt).__name__
            raise InvalidRequest(f"get_prompt() must return a text, not {given}")
        return prompt

    def get_betas(self, obj: Any, /) -> Iterable[str]:
        """Give the names for the `anthropic-beta` header; rows with different ones go into different batches."""
        return self.betas

    def on_result(self, obj: Any, result: BatchResult, /) -> object:
        """Do something with a usable answer: once for what it writes to this database, at least once for all else.

        It may be `async def`, as may the two below: it is awaited, in the same transaction.
        """

    def on_failure(self, obj: Any, result: BatchResult, /) -> object:
        """Do something about a row that failed and is not asked again by itself; `result.outcome` says how.

        Where no result came it is "missing", and `result` is in no table.
        """

    def on_finished(self, run: JobRun, /) -> object:
        """Do something when all of a run is delivered."""

    @classmethod
    def start(cls, *, label: str = "", by: Any = None) -> JobRun:
        """Start a run: a worker drafts the rows, sends them and hands the answers to this job.

        Inside a transaction it starts with the commit. Raise AlreadyRunning while a run is active, unless the job
        allows that.
        """
        run = services.start_job(cls.name, label=label, by=by)
        tasks.kick()
        return run

    @classmethod
    def dry_run(cls, *, seconds: float | None = None) -> services.DryRun:
        """Say what a run would send, without storing or sending anything; look for `seconds` at most."""
        return services.dry_run(cls.name, seconds=seconds)

    @classmethod
    def redeliver(cls, batch: MessageBatch, *, by: Any = None) -> MessageBatch:
        """Hand all usable answers of a complete batch to this job once more: for new code. Nothing is sent."""
        if batch.kind != cls.name:
            raise batch.forbidden("redeliver", (), f'its kind is "{batch.kind}", and this job is "{cls.name}".')
        services.redeliver(batch, by=by)
        tasks.kick()
        return batch

    @classmethod
    def problems(cls) -> list[str]:
        """Say what is wrong with the declaration: for `manage.py check`."""
        found = method_problems(cls)
        if not NAME.fullmatch(cls.name):
            found.append(f"{cls.__name__}.name is {cls.name!r}: it may hold the characters a-z, A-Z, 0-9, _ and -.")
        if cls.get_queryset is BatchJob.get_queryset:
            found.append(f"{cls.__name__} has no get_queryset(): it says which rows to ask about.")
        if cls.get_params is BatchJob.get_params:
            if not cls.claude_model:
                found.append(f'{cls.__name__}.claude_model is not set: name a model, like "claude-haiku-4-5".')
            if cls.get_prompt is BatchJob.get_prompt:
                found.append(f"{cls.__name__} has neither get_prompt() nor get_params(): nothing would be asked.")
        try:
            _schema_of(cls)
        except BadSchema as error:
            found.append(f"{cls.__name__}.output_schema: {error}")
        return found

    @classmethod
    def warnings(cls) -> list[str]:
        """Say what should be changed in it: for `manage.py check`."""
        found = [] if (said := key_problem(cls)) is None else [f"{cls.__name__}.get_queryset() {said}"]
        try:
            schema = _schema_of(cls)
        except BadSchema:  # which `problems` says
            return found
        if schema is not None:
            found += [f"{cls.__name__}.output_schema: {said}" for said in schema.warnings]
        return found

    @classmethod
    def declared_params(cls) -> Mapping[str, Any]:
        """Return the model, and `max_tokens` unless a method may change it, for `manage.py check`."""
        model: Any = cls.claude_model  # not validated yet
        known: dict[str, Any] = {"model": model} if isinstance(model, str) else {}
        if cls.get_params is BatchJob.get_params and cls.get_betas is BatchJob.get_betas:
            known["max_tokens"] = cls.max_tokens
        return known

    def make_params(self, obj: Any, /) -> Mapping[str, Any]:
        """Give the whole body for a row, with the output schema."""
        params = sync_result(self, "get_params", self.get_params(obj))
        schema = _schema_of(type(self))
        return params if schema is None else schema.added_to(params)

    def read_output(self, result: Any, /) -> str | None:
        """Check an answer by the output schema; set its `output`, and `parsed_output`: the pydantic model, or the same.

        Give what is wrong with it in the validator's words, or None.
        """
        schema = _schema_of(type(self))
        result.output = result.parsed_output = None
        if schema is None:
            return None
        try:
            read = schema.read(result.text)
        except InvalidOutput as error:
            return Cleaner().text(str(error))
        result.output, result.parsed_output = Cleaner().clean(read.output), read.parsed
        return None

    def more_tokens(self, max_tokens: int, /) -> int | None:
        """Give twice as many, up to the cap; None where that is not more."""
        cap = CAP * self.max_tokens if self.max_tokens_cap is None else self.max_tokens_cap
        more = min(2 * max_tokens, cap)
        return more if more > max_tokens else None


def _schema_of(job: type[BatchJob]) -> OutputSchema | None:
    """Give what answers have to fit, made once for each job; raise BadSchema."""
    if job.output_schema is None:
        return None
    if job not in _schemas:
        _schemas[job] = OutputSchema(job.output_schema)
    return _schemas[job]


def _named_after(class_name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", class_name).lower()
