"""Whether the database that our rows are written to is as it should be. Nothing of it is changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from django_claude_batches import checks
from django_claude_batches.models import AccountState
from django_claude_batches.services.doctor.database_vendor import BY_VENDOR
from django_claude_batches.services.doctor.report import Diagnosis, Subject, Verdict

FAR = timedelta(seconds=30)
"""What clocks may differ by: as much as between two ticks, and far more than what an answer takes."""

OURS = "django_claude_batches"


def check_database(alias: str) -> Iterator[Diagnosis]:
    """Look at the connection, our migrations, the clock, and what one kind of database has and another does not."""
    subject, connection = Subject(alias), connections[alias]
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


def is_usable(found: list[Diagnosis]) -> bool:
    """Whether our tables can be read, by what `check_database` said."""
    return any(one.name == "migrations" and one.verdict == Verdict.OK for one in found)


def told(apart: timedelta) -> str:
    """Give how far a clock is from another, which is named after it."""
    return f"{abs(apart).total_seconds():,.0f} s {'ahead of' if apart > timedelta(0) else 'behind'}"


def _pending(connection: Any) -> list[str]:
    executor = MigrationExecutor(connection)
    ours = [node for node in executor.loader.graph.leaf_nodes() if node[0] == OURS]
    return [str(migration) for migration, _backwards in executor.migration_plan(ours)]


def _clock(subject: Subject, name: str) -> Iterator[Diagnosis]:
    if wrong := checks.about_time_zone(subject.about):
        yield from subject.said(name, wrong, otherwise="")
        return
    before = timezone.now()
    theirs = AccountState.objects.primary().clock()
    apart = theirs - (before + (timezone.now() - before) / 2)
    if abs(apart) <= FAR:
        yield subject.ok(name, "It goes with this machine's.")
        return
    remedy = (
        "Set both by NTP. Leases and due times go by the database's clock alone, so workers agree; if it is the wrong "
        "one, the alarms at 23 hours and at 27 days come at the wrong time."
    )
    yield subject.warning(name, f"It is {told(apart)} this machine's.", remedy)
