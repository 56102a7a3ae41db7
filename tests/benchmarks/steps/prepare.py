"""Prepare our database between the steps; not timed."""

from __future__ import annotations

import argparse
import json
import shutil
from datetime import timedelta
from typing import Any, TypeVar

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.db.models import F, Model  # noqa: E402
from django.utils import timezone  # noqa: E402

from django_claude_batches.models import AccountState, BatchRequest, BatchResult, MessageBatch, State, UsageRollup  # noqa: E402
from tests.benchmarks.steps.tables import UNFETCHED, empty, reset  # noqa: E402

M = TypeVar("M", bound=Model)

# The columns to which `--compression` applies.
LARGE = {BatchRequest: ("params",), BatchResult: ("message", "output", "raw", "error_message")}


def migrate(compression: str) -> None:
    """Create the tables by the migrations, or with this compression; print their compression."""
    call_command("migrate", verbosity=0, run_syncdb=True)
    if compression and connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for model, columns in LARGE.items():
                changes = ", ".join(f"ALTER {column} SET COMPRESSION {compression}" for column in columns)
                cursor.execute(f"ALTER TABLE {model._meta.db_table} {changes}")
    facts = {"server": server(), "compression": compression_of(BatchResult, "message"), "no_limit": why_no_limit()}
    print(json.dumps(facts))


def why_no_limit() -> str:
    """Return why `loading` cannot work on this machine, or ""."""
    if connection.vendor == "postgresql" and shutil.which("psql") is None:
        return "psql is not installed"
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@local_infile")
            return "" if cursor.fetchone()[0] else "local_infile is off on this server"
    return ""


def server() -> str:
    names = {"postgresql": "PostgreSQL", "mysql": "MariaDB", "sqlite": "SQLite"}
    with connection.cursor() as cursor:
        asked = {"postgresql": "SHOW server_version", "sqlite": "SELECT sqlite_version()"}
        cursor.execute(asked.get(connection.vendor, "SELECT version()"))
        return f"{names[connection.vendor]} {str(cursor.fetchone()[0]).split(' ')[0]}"


def compression_of(model: Any, column: str) -> str:
    """Return "pglz" or "lz4", or "" on other databases."""
    if connection.vendor != "postgresql":
        return ""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT CASE attcompression WHEN 'l' THEN 'lz4' WHEN 'p' THEN 'pglz' "
            "ELSE current_setting('default_toast_compression') END "
            "FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s",
            [model._meta.db_table, column],
        )
        return str(cursor.fetchone()[0])


def unstore() -> None:
    """Reset every batch to the state before its end was seen."""
    empty(BatchResult, UsageRollup)
    running = {"state": State.IN_PROGRESS, "processing_status": "in_progress", "ended_at": None}
    MessageBatch.objects.update(next_action_at=timezone.now(), **running, **UNFETCHED)


def multiply(count: int) -> None:
    """Copy the oldest batch, with its requests and results, until there are this many results."""
    batch = MessageBatch.objects.order_by("pk")[0]
    while (there := BatchResult.objects.count()) < count:
        copy = another(batch, f"msgbatch_copy_{there}")
        copy.save(force_insert=True)
        copy_usage(batch, [copy])
        with connection.cursor() as cursor:
            copy_requests(cursor, batch, copy)
            copy_results(cursor, batch, copy, count - there)
    if connection.vendor != "sqlite":
        tables = ", ".join(model._meta.db_table for model in (MessageBatch, BatchRequest, BatchResult, UsageRollup))
        with connection.cursor() as cursor:  # the server would have done this long before there are so many rows
            cursor.execute(f"ANALYZE {'TABLE ' if connection.vendor == 'mysql' else ''}{tables}")


def vary(batch: MessageBatch) -> None:
    """Make some answers truncated, refused, or billed at another rate, so that filters find them."""
    some: Any = batch.results.succeeded()
    for every, columns in (
        (97, {"stop_reason": "max_tokens"}),
        (151, {"stop_reason": "refusal"}),
        (203, {"service_tier": "standard", "cost_usd": None}),
    ):
        some.annotate(rest=F("pk") % every).filter(rest=0).update(**columns)
    summary = UsageRollup.objects.sum_up(batch.pk)
    batch.result_counts, batch.error_groups = summary.result_counts, summary.error_groups
    batch.save(update_fields=["result_counts", "error_groups"])
    UsageRollup.objects.replace(batch, summary)


def copy_requests(cursor: Any, batch: MessageBatch, copy: MessageBatch) -> None:
    table, columns = BatchRequest._meta.db_table, columns_of(BatchRequest, "id", "batch_id")
    rows = f"SELECT {copy.pk}, {columns} FROM {table} WHERE batch_id = {batch.pk}"
    cursor.execute(f"INSERT INTO {table} (batch_id, {columns}) {rows}")


def copy_results(cursor: Any, batch: MessageBatch, copy: MessageBatch, most: int) -> None:
    table, columns = BatchResult._meta.db_table, columns_of(BatchResult, "id", "batch_id", "request_id", "custom_id")
    given = ", ".join(f"given.{column}" for column in columns.split(", "))
    cursor.execute(
        f"INSERT INTO {table} (batch_id, request_id, custom_id, {columns}) "
        f"SELECT {copy.pk}, request.id, request.custom_id, {given} FROM {table} given "
        f"JOIN {BatchRequest._meta.db_table} request ON request.batch_id = {copy.pk} "
        f"AND request.custom_id = given.custom_id WHERE given.batch_id = {batch.pk} LIMIT {most}"
    )


def columns_of(model: Any, *but: str) -> str:
    key = connection.ops.quote_name
    return ", ".join(key(field.column) for field in model._meta.fields if field.column not in but)


def copy_usage(batch: MessageBatch, copies: list[MessageBatch]) -> None:
    """Copy the usage of the one batch to these batches."""
    used = list(UsageRollup.objects.filter(batch=batch.pk))
    rows = []
    for copy in copies:
        for row in used:
            rows.append(same := duplicate(row))
            same.of(copy)
    UsageRollup.objects.bulk_create(rows, batch_size=500)


def crowd(count: int) -> None:
    """Add batches without rows to the only one, until there are this many.

    Every tenth has missing results, or an error. They ended within the last 90 days.
    """
    batch, there = MessageBatch.objects.get(), MessageBatch.objects.count()
    vary(batch)
    more = [another(batch, f"msgbatch_more_{number}") for number in range(there, count)]
    for number, copy in enumerate(more):
        copy.missing_count, copy.last_error = int(number % 20 == 0), "An error." if number % 20 == 10 else ""
        copy.ended_at = timezone.now() - timedelta(days=90) * number / len(more)
    MessageBatch.objects.bulk_create(more, batch_size=500)
    copy_usage(batch, list(MessageBatch.objects.filter(anthropic_id__startswith="msgbatch_more_")))
    AccountState.objects.get_or_create(alias=batch.account)  # as the first tick would


def another(batch: MessageBatch, anthropic_id: str) -> MessageBatch:
    """Return a copy that is not stored."""
    copy = duplicate(batch)
    copy.anthropic_id = anthropic_id
    return copy


def duplicate(row: M) -> M:
    names = [field.attname for field in row._meta.concrete_fields]
    copy = type(row).from_db(None, names, [getattr(row, name) for name in names])
    copy.pk, copy._state.adding = None, True
    return copy


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["migrate", "reset", "unstore", "multiply", "crowd"])
    parser.add_argument("--compression", default="")
    parser.add_argument("--n", type=int, default=0)
    options = parser.parse_args()
    if options.what == "migrate":
        migrate(options.compression)
    elif options.what == "multiply":
        multiply(options.n)
    elif options.what == "crowd":
        crowd(options.n)
    else:
        {"reset": reset, "unstore": unstore}[options.what]()
