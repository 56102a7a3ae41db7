"""Read a job's rows in pages by primary key, and build a request from each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db import InternalError, ProgrammingError, models
from django.db.models.fields.composite import CompositePrimaryKey
from django.db.models.query import ModelIterable

from django_claude_batches import job_registry, sanitize, wire
from django_claude_batches.drafting.request import MAX_OUR_CUSTOM_ID, Prepared, check, check_header
from django_claude_batches.drafting.target import content_types_of
from django_claude_batches.error_text import format_error, is_ours, public_part
from django_claude_batches.exceptions import InvalidRequest, Unaskable
from django_claude_batches.services.job_calls import TRANSIENT_DATABASE_ERRORS, sync_result
from django_claude_batches.services.runs.batch_builder import Betas, too_large

# Maximum number of rows read at a time.
PAGE = 500

# Rows on the first page, before their size is known.
FIRST_PAGE = 20

# Rows on a page as long as all rows were left out, so that their size is not known. A million of them take 10,000
# transactions; 500 might not fit into memory, since some are left out for being too large.
UNMEASURED_PAGE = 100

# Approximate bytes of requests on a page.
MAX_PAGE_BYTES = 4_000_000

# Errors that no row causes: the run is retried with back-off, and no row is left out. A worker that was restarted
# before `migrate`, for example, lacks a table: on PostgreSQL a ProgrammingError, on SQLite an OperationalError. Errors
# about values (DataError, IntegrityError) are the row's.
NOT_THE_ROWS_FAULT = (*TRANSIENT_DATABASE_ERRORS, InternalError, ProgrammingError, MemoryError)

# Left-out rows of a run that are stored with their reason: they are loaded with each batch of the run.
MAX_LEFT_OUT_NAMED = 50

# Characters kept of the reason.
MAX_LEFT_OUT_REASON = 200


class LeftOut:
    """The rows that a run left out because they cannot be asked: their number, and the names of the first."""

    def __init__(self, count: int = 0, rows: Iterable[list[str]] = ()) -> None:
        self.count = count
        # The first rows, each with its reason.
        self.rows = list(rows)

    def add(self, row: Any, error: Unaskable) -> None:
        """Count a row; of an error of the project's code, which may quote it, keep only the type and the place."""
        self.count += 1
        if len(self.rows) < MAX_LEFT_OUT_NAMED:
            why = public_part(str(error).removeprefix(f"{row_name(row)}: "))
            self.rows.append(
                [sanitize.text(row_name(row), MAX_LEFT_OUT_REASON), sanitize.text(why, MAX_LEFT_OUT_REASON)]
            )


class RowRequest(NamedTuple):
    """A row's request, and the betas that it needs. Without a custom_id, its position will be that."""

    request: Prepared
    betas: Betas


def read_page(job: job_registry.Job, *, after: Any, size: int) -> list[Any]:
    """Read the next rows, `size` at most, behind the key `after` (None: from the first), each once.

    Raise Unaskable if they cannot be read in pages, or the job's code raises.
    """
    try:
        rows = rows_of(job)
        found = (rows if after is None else rows.filter(pk__gt=after))[:size]
        key = rows.model._meta.pk.attname
        distinct = {getattr(row, key): row for row in found}  # a filter over a join may return a row several times
    except (Unaskable, *NOT_THE_ROWS_FAULT):
        raise
    except Exception as error:  # noqa: BLE001 (it is the project's code)
        why = format_error(error)
    else:
        strangers = [row for pk, row in distinct.items() if row.pk != pk]
        if not strangers:
            return list(distinct.values())
        why = (
            f"gives {type(strangers[0])._meta.label} {strangers[0].pk}, a row of a child model with a key of its own: "
            f"no answer finds back to it. Give rows of {rows.model._meta.label}"
        )
    raise Unaskable(f"get_queryset(): {why}")


def page_size(rows: int, size: int, *, left_out: int) -> int:
    """Return the size of the next page. So far, `rows` made requests of `size` bytes, and `left_out` rows made none."""
    if rows and size:
        return max(1, min(PAGE, MAX_PAGE_BYTES * rows // size))
    return UNMEASURED_PAGE if left_out else FIRST_PAGE


def rows_of(job: job_registry.Job) -> models.QuerySet[Any]:
    """Return the job's rows in the order of their primary keys; raise Unaskable if they cannot be read in pages."""
    rows: models.QuerySet[Any] = sync_result(job, "get_queryset", job.get_queryset())
    if problem := _unreadable(rows):
        raise Unaskable(f"get_queryset() {problem}")
    rows = rows.order_by("pk")
    rows.query.standard_ordering = True  # reverse() reverses this order too
    return rows


def _unreadable(rows: Any) -> str:
    if not isinstance(rows, models.QuerySet):
        return f"must give a queryset, not {type(rows).__name__}"
    if rows.query.is_sliced:
        return "gives a slice, which cannot be read page by page: filter it instead"
    if rows.query.combinator:
        return f"gives a {rows.query.combinator}(), which cannot be read page by page: filter with Q objects instead"
    if rows.query.distinct_fields:
        return "gives the first row for each value, by distinct() of fields, which cannot be read page by page"
    if not issubclass(rows._iterable_class, ModelIterable):
        return "gives values: leave values() and values_list() out, so that it gives instances"
    if isinstance(rows.model._meta.pk, CompositePrimaryKey):
        return f"gives rows of {rows.model._meta.label}, which has a composite primary key: no answer finds back to it"
    return ""


def build_request(job: job_registry.Job, row: Any, *, using: str) -> RowRequest:
    """Build the row's request, for a table of this database; raise Unaskable with the row's name if that fails."""
    try:
        betas = _sorted(sync_result(job, "get_betas", job.get_betas(row)))
        item, content_types = {"params": job.make_params(row), "target": row}, content_types_of(using)
        request = check(item, 0, content_types, rows_are_replicas=job.rows_are_replicas).encoded()
        request = request._replace(custom_id=_custom_id(row.pk))
        why = too_large(request, using=using)
    except NOT_THE_ROWS_FAULT:
        raise
    except InvalidRequest as error:
        why = error.reason if is_ours(error) else format_error(error)
    except Exception as error:  # noqa: BLE001 (it is the project's code)
        why = format_error(error)
    if why:
        raise Unaskable(f"{row_name(row)}: {why}")
    return RowRequest(request, betas)


def row_name(row: Any) -> str:
    return f"{type(row)._meta.label} {row.pk}"


def _sorted(betas: Iterable[str]) -> Betas:
    """Return the betas in an order that makes equal sets equal."""
    if isinstance(betas, str):
        raise InvalidRequest("betas are a list of names, not a text")
    return tuple(sorted({check_header("a beta", beta) for beta in betas}))


def _custom_id(pk: Any) -> str:
    """Return the primary key if it can be a custom_id; else an empty text."""
    text = str(pk)
    if isinstance(pk, str) and text.isdecimal():
        return ""  # would equal the position of another row, whose key cannot be a custom_id
    return text if len(text) <= MAX_OUR_CUSTOM_ID and wire.CUSTOM_ID_PATTERN.fullmatch(text) else ""
