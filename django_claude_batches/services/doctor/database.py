"""Check the database: connection, migrations, clock, and settings specific to its vendor. Read-only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from django_claude_batches import checks
from django_claude_batches.db import postgres_copy
from django_claude_batches.models import AccountState, BatchRequest, BatchResult
from django_claude_batches.services.doctor.report import Diagnosis, DiagnosisBuilder

APP_LABEL = "django_claude_batches"


def check_database(alias: str) -> Iterator[Diagnosis]:
    """Check the connection, the migrations, the clock, and settings specific to the database's vendor."""
    subject, connection = DiagnosisBuilder(alias), connections[alias]
    try:
        connection.ensure_connection()
        version = ".".join(map(str, connection.get_database_version()))
        pending = _pending(connection)
    except (DatabaseError, ImproperlyConfigured) as error:
        remedy = f'Look at DATABASES["{alias}"], and whether the server runs and lets this machine in.'
        yield subject.failed("database", f"It cannot be reached: {error}".rstrip(), remedy)
        return
    yield subject.ok("database", f"{connection.display_name} {version} answers.")
    if pending:
        words = f"Not applied: {', '.join(pending)}."
        yield subject.failed("migrations", words, f"`manage.py migrate --database {alias}`")
        return
    yield subject.ok("migrations", "All of ours are applied.")
    for name, check in (("database_clock", _clock), *BY_VENDOR.get(connection.vendor, ())):
        try:
            yield from check(subject, name)
        except DatabaseError as error:
            yield subject.skipped(name, f"The database did not say: {error}".rstrip())


def _pending(connection: Any) -> list[str]:
    executor = MigrationExecutor(connection)
    ours = [node for node in executor.loader.graph.leaf_nodes() if node[0] == APP_LABEL]
    return [str(migration) for migration, _backwards in executor.migration_plan(ours)]


def _clock(subject: DiagnosisBuilder, name: str) -> Iterator[Diagnosis]:
    if wrong := checks.about_time_zone(subject.about):
        yield from subject.from_messages(name, wrong, otherwise="")
        return
    before = timezone.now()
    theirs = AccountState.objects.primary().clock()
    apart = theirs - (before + (timezone.now() - before) / 2)
    remedy = (
        "Set both by NTP. Leases and due times go by the database's clock alone, so workers agree; if it is the wrong "
        "one, the alarms at 23 hours and at 27 days come at the wrong time."
    )
    yield subject.from_clocks(name, apart, "It", "this machine's", remedy)


# MariaDB's default maximum size of a statement in bytes.
MIN_PACKET_BYTES = 16 * 1024 * 1024

# The columns that hold most of the bytes (migration 0002).
LARGE_COLUMNS = ((BatchRequest, "params"), (BatchResult, "message"))

COLUMNS_WITHOUT_LZ4 = """
SELECT attrelid::regclass::text, attname FROM pg_attribute
WHERE (attrelid, attname) IN ((%s::regclass, %s), (%s::regclass, %s)) AND attcompression <> 'l'
AND NOT (attcompression = '' AND current_setting('default_toast_compression') = 'lz4')
"""

NOT_UTF8MB4 = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name IN %s AND character_set_name <> 'utf8mb4'
"""


def _transactions(subject: DiagnosisBuilder, name: str) -> Iterator[Diagnosis]:
    yield from subject.from_messages(
        name, checks.about_database(subject.about), otherwise="transaction_mode is IMMEDIATE."
    )


def _driver(subject: DiagnosisBuilder, name: str) -> Iterator[Diagnosis]:
    if postgres_copy.is_possible(subject.about):
        yield subject.ok(name, "psycopg 3: rows are written by COPY.")
        return
    remedy = 'Install psycopg 3 in its place: `pip install "psycopg[binary]"`.'
    yield subject.warning(name, "psycopg 2: rows are written by INSERT, which takes longer than COPY.", remedy)


def _compression(subject: DiagnosisBuilder, name: str) -> Iterator[Diagnosis]:
    quote = connections[subject.about].ops.quote_name
    columns = [text for model, column in LARGE_COLUMNS for text in (quote(model._meta.db_table), column)]
    with connections[subject.about].cursor() as cursor:
        cursor.execute("SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'")
        (has_lz4,) = cursor.fetchone() or (False,)
        cursor.execute(COLUMNS_WITHOUT_LZ4, columns)
        others = cursor.fetchall()
    if not has_lz4:
        words = "This server has no lz4: its other compression takes half of the time in which results are stored."
        yield subject.warning(name, words, "Use a PostgreSQL that was built with lz4, as those of distributions are.")
    elif others:
        words = f"Not lz4, and so slower to write: {', '.join(map('.'.join, others))}."
        statements = (f"ALTER TABLE {table} ALTER COLUMN {column} SET COMPRESSION lz4" for table, column in others)
        yield subject.warning(name, words, f"`{'; '.join(statements)}`: for rows written from then on.")
    else:
        yield subject.ok(name, "The large columns are compressed by lz4.")


def _characters(subject: DiagnosisBuilder, name: str) -> Iterator[Diagnosis]:
    yield from subject.from_messages(name, checks.about_database(subject.about), otherwise="The connection is utf8mb4.")
    tables = tuple(model._meta.db_table for model in apps.get_app_config(checks.APP_LABEL).get_models())
    with connections[subject.about].cursor() as cursor:
        cursor.execute(NOT_UTF8MB4, [tables])
        others = sorted(map(".".join, cursor.fetchall()))
    if others:
        words = f"Not utf8mb4, so that answers with emoji cannot be stored: {', '.join(others)}."
        remedy = (
            "Give each of them `CHARACTER SET utf8mb4`, by ALTER TABLE … MODIFY. Not the whole table by CONVERT TO: "
            "identifiers would lose their collation, utf8mb4_bin."
        )
        yield subject.failed(name, words, remedy)


def _packet(subject: DiagnosisBuilder, name: str) -> Iterator[Diagnosis]:
    with connections[subject.about].cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        (taken,) = cursor.fetchone() or (0,)
    words = f"max_allowed_packet is {taken:,} bytes: a request or an answer that takes more cannot be stored."
    if taken >= MIN_PACKET_BYTES:
        yield subject.ok(name, words)
    else:
        yield subject.warning(name, words, f"Set it to {MIN_PACKET_BYTES:,} at least, which MariaDB has by itself.")


Check = Callable[[DiagnosisBuilder, str], Iterator[Diagnosis]]

# By what Django calls them: MariaDB is among MySQL.
BY_VENDOR: dict[str, tuple[tuple[str, Check], ...]] = {
    "sqlite": (("transactions", _transactions),),
    "postgresql": (("driver", _driver), ("compression", _compression)),
    "mysql": (("characters", _characters), ("packet", _packet)),
}
