"""What our database needs between the steps; nothing of it is timed."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from typing import Any

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from django_claude_batches.models import AccountState, BatchRequest, BatchResult, MessageBatch, State, UsageRollup  # noqa: E402
from tests.benchmarks.steps.tables import UNFETCHED, empty, reset  # noqa: E402

LARGE = {BatchRequest: ("params",), BatchResult: ("message", "output", "raw", "error_message")}
"""The columns that compression is about."""


def migrate(compression: str) -> None:
    """Make the tables as the migrations have them, or with this compression; print what they have."""
    call_command("migrate", verbosity=0, run_syncdb=True)
    if compression and connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for model, columns in LARGE.items():
                changes = ", ".join(f"ALTER {column} SET COMPRESSION {compression}" for column in columns)
                cursor.execute(f"ALTER TABLE {model._meta.db_table} {changes}")
    facts = {"server": server(), "compression": compression_of(BatchResult, "message"), "no_limit": why_no_limit()}
    print(json.dumps(facts))


def why_no_limit() -> str:
    """Say what keeps `loading` from working here; nothing if it works."""
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
    """Give pglz or lz4; empty where there is no choice."""
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
    """Let every batch be one of which was not yet seen that it has ended."""
    empty(BatchResult, UsageRollup)
    running = {"state": State.IN_PROGRESS, "processing_status": "in_progress", "ended_at": None}
    MessageBatch.objects.update(next_action_at=timezone.now(), **running, **UNFETCHED)


def multiply(count: int) -> None:
    """Copy the results of the one batch that there is, as those of further ones, until there are so many."""
    batch = MessageBatch.objects.get()
    table, key = BatchResult._meta.db_table, connection.ops.quote_name
    kept = [field.column for field in BatchResult._meta.fields if field.column not in {"id", "batch_id", "request_id"}]
    columns = ", ".join(key(column) for column in kept)
    while (there := BatchResult.objects.count()) < count:
        copy = another(batch, f"msgbatch_copy_{there}")
        copy.save(force_insert=True)
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} (batch_id, {columns}) SELECT {copy.pk}, {columns} FROM {table} "
                f"WHERE batch_id = {batch.pk} LIMIT {count - there}"
            )


def crowd(count: int) -> None:
    """Add batches without rows, until there are so many: every tenth with something missing, or with an error."""
    batch, there = MessageBatch.objects.order_by("pk")[0], MessageBatch.objects.count()
    more = [another(batch, f"msgbatch_more_{number}") for number in range(there, count)]
    for number, copy in enumerate(more):
        copy.missing_count, copy.last_error = int(number % 20 == 0), "An error." if number % 20 == 10 else ""
    MessageBatch.objects.bulk_create(more, batch_size=500)
    AccountState.objects.get_or_create(alias=batch.account)  # as the first tick does
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")  # as autovacuum has done long before there are so many


def another(batch: MessageBatch, anthropic_id: str) -> MessageBatch:
    """Give a copy that is not stored."""
    copy = MessageBatch.from_db(None, [field.attname for field in batch._meta.concrete_fields], list(values(batch)))
    copy.pk, copy._state.adding, copy.anthropic_id = None, True, anthropic_id
    return copy


def values(batch: MessageBatch) -> Iterator[Any]:
    return (getattr(batch, field.attname) for field in batch._meta.concrete_fields)


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
