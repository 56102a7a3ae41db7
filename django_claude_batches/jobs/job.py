"""The base class of jobs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from django.db import models, router

from django_claude_batches import job_registry, services, tasks
from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.jobs.validation import key_problem, method_problems
from django_claude_batches.models import BatchResult, JobRun, MessageBatch
from django_claude_batches.output_schema import BadSchema, InvalidOutput, OutputSchema
from django_claude_batches.sanitize import Cleaner, get_logger
from django_claude_batches.services.job_calls import TRANSIENT_DATABASE_ERRORS, sync_result

logger = get_logger(__name__)

# Tokens of an answer unless set by the job.
DEFAULT_MAX_TOKENS = 1024

# Maximum `max_tokens` for retries of a truncated answer, as a multiple of the job's; unless set by the job.
CAP = 4

NAME = re.compile(r"[a-zA-Z0-9_-]{1,100}")

_schemas: dict[type[BatchJob], OutputSchema] = {}


class BatchJob:
    """A job: which rows, what to ask about each, and what to do with the answer.

    Write `get_queryset`, `get_prompt` (or `get_params` for the whole body) and `on_result`. A subclass is registered by
    its name when it is defined, unless it has `abstract=True`. Each call is made on a new instance: store nothing on
    it.

    `on_result`, `on_failure` and `on_finished` may be `async def`; no other method may. A class with methods that are
    coroutine functions or generator functions where nothing would run them raises TypeError when it is defined.
    """

    # The `kind` of its batches, by which a worker finds the job: by default the class's name in the form `tag-reviews`.
    # Set it before you rename the class.
    name: ClassVar[str] = ""

    claude_model: ClassVar[str] = ""
    max_tokens: ClassVar[int] = DEFAULT_MAX_TOKENS
    # The maximum when the tokens of a truncated answer are doubled for a retry; by default four times `max_tokens`.
    max_tokens_cap: ClassVar[int | None] = None
    system: ClassVar[str] = ""
    # A JSON Schema as a dictionary, or a pydantic model, that each answer must fit.
    output_schema: ClassVar[Any] = None
    account: ClassVar[str] = "default"
    betas: ClassVar[Iterable[str]] = ()
    # Whether a run may start while another one is active.
    allow_overlap: ClassVar[bool] = False
    # Whether rows that `get_queryset` reads from another database are those of the database that its model is written
    # to, where the handlers find them again. Otherwise such rows are refused.
    rows_are_replicas: ClassVar[bool] = False
    # Whether a row that cannot be sent, because a method raises or the API would refuse its request, is left out of the
    # run and counted. Otherwise the first one pauses the run.
    skip_unaskable: ClassVar[bool] = False
    # Maximum attempts of a row without a person's request.
    max_attempts: ClassVar[int] = 3

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if found := method_problems(cls):
            raise TypeError(" ".join(found))
        if "name" not in cls.__dict__:
            cls.name = "" if abstract else _named_after(cls.__name__)
        if not abstract:
            job_registry.register(cls)

    def get_queryset(self) -> models.QuerySet[Any]:
        """Return the rows to ask about, in any order, unsliced; called for each page. Each row is drafted once."""
        raise NotImplementedError

    def get_targets(self, pks: Sequence[Any], /) -> models.QuerySet[Any]:
        """Return the rows with these primary keys, of the model of `get_queryset`, as they are now, for the handlers.

        It is called once, so with one query, for the many rows of a transaction, and within it; and once more if a
        handler raised, to see whether its row was deleted since. By default the rows are those of the model's base
        manager, with all columns, from the database that the model is written to. A row that is not returned counts as
        deleted, and its handler is not called. An error raised here counts for each of the rows as one of its handler.
        """
        model: Any = self.row_model
        return model._base_manager.using(router.db_for_write(model)).filter(pk__in=pks)  # type: ignore[no-any-return]

    @cached_property
    def row_model(self) -> type[models.Model] | None:
        """Return the model of `get_queryset`'s rows, which is computed once; None if the method returns no queryset.

        It may raise when answers are delivered, a day after they were requested: they are delivered all the same.
        """
        if type(self).get_queryset is BatchJob.get_queryset:
            return None
        try:
            return sync_result(self, "get_queryset", self.get_queryset()).model
        except TRANSIENT_DATABASE_ERRORS:
            raise
        except Exception:
            logger.exception("%s.get_queryset() raised: rows are read by their own models.", type(self).__name__)
            return None

    def get_prompt(self, obj: Any, /) -> str:
        """Return the text of the user's message about the row."""
        raise NotImplementedError

    def get_params(self, obj: Any, /) -> Mapping[str, Any]:
        """Return the body of the Messages call about the row, without the output schema, which is added to it."""
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
        """Return the names for the `anthropic-beta` header; rows with different ones go into different batches."""
        return self.betas

    def on_result(self, obj: Any, result: BatchResult, /) -> object:
        """Handle a usable answer: exactly once for writes to this database, at least once for other side effects.

        It may be `async def`, as may the two methods below: it is awaited, in the same transaction.
        """

    def on_failure(self, obj: Any, result: BatchResult, /) -> object:
        """Handle a row that failed and is not retried automatically; `result.outcome` says how.

        If no result arrived, it is "missing", and `result` is not stored in a table.
        """

    def on_finished(self, run: JobRun, /) -> object:
        """Handle the end of a run: all of it is delivered."""

    @classmethod
    def start(cls, *, label: str = "", by: Any = None) -> JobRun:
        """Start a run: a worker drafts the rows, sends them and delivers the answers to this job.

        Inside a transaction it starts with the commit. Raise AlreadyRunning while a run is active, unless the job
        allows overlap.
        """
        run = services.start_job(cls.name, label=label, by=by)
        tasks.kick()
        return run

    @classmethod
    def dry_run(cls, *, seconds: float | None = None) -> services.DryRun:
        """Return what a run would send, without storing or sending anything; read rows for `seconds` at most."""
        return services.dry_run(cls.name, seconds=seconds)

    @classmethod
    def redeliver(cls, batch: MessageBatch, *, by: Any = None) -> MessageBatch:
        """Redeliver all usable answers of a complete batch to this job, for changed code. Nothing is sent."""
        if batch.kind != cls.name:
            raise batch.forbidden("redeliver", (), f'its kind is "{batch.kind}", and this job is "{cls.name}".')
        services.redeliver(batch, by=by)
        tasks.kick()
        return batch

    @classmethod
    def problems(cls) -> list[str]:
        """Return what is wrong with the declaration, for `manage.py check`."""
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
        """Return what should be changed in the declaration, for `manage.py check`."""
        found = [] if (said := key_problem(cls)) is None else [f"{cls.__name__}.get_queryset() {said}"]
        try:
            schema = _schema_of(cls)
        except BadSchema:  # `problems` reports it
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
        """Return the whole body for a row, with the output schema."""
        params = sync_result(self, "get_params", self.get_params(obj))
        schema = _schema_of(type(self))
        return params if schema is None else schema.added_to(params)

    def read_output(self, result: Any, /) -> str | None:
        """Validate an answer by the schema, and set `output` and `parsed_output` (a pydantic model, or the JSON).

        Return what is wrong with it in the validator's words, or None.
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
        """Return twice as many, up to the maximum; None if that is not more."""
        cap = CAP * self.max_tokens if self.max_tokens_cap is None else self.max_tokens_cap
        more = min(2 * max_tokens, cap)
        return more if more > max_tokens else None


def _schema_of(job: type[BatchJob]) -> OutputSchema | None:
    """Return the schema of the job's answers, created once for each job; raise BadSchema."""
    if job.output_schema is None:
        return None
    if job not in _schemas:
        _schemas[job] = OutputSchema(job.output_schema)
    return _schemas[job]


def _named_after(class_name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", class_name).lower()
