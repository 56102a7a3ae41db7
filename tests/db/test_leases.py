from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone

from django_claude_batches.db.leases import DatabaseNow, now_plus
from django_claude_batches.models import MessageBatch
from tests.harness.factories import draft

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def age(batch: MessageBatch) -> None:
    MessageBatch.objects.filter(pk=batch.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_the_databases_clock_is_utc_whatever_its_time_zone() -> None:
    """MariaDB's NOW() is the session's local time, and Django sets no time zone for the session."""
    batch = draft(1)
    MessageBatch.objects.filter(pk=batch.pk).update(queued_at=DatabaseNow(), ended_at=now_plus(timedelta(hours=2)))
    batch.refresh_from_db()
    assert abs(batch.queued_at - timezone.now()) < timedelta(minutes=1)
    assert timedelta(minutes=119) < batch.ended_at - batch.queued_at < timedelta(minutes=121)
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute("SET time_zone = '-05:00'")
            try:
                MessageBatch.objects.filter(pk=batch.pk).update(queued_at=DatabaseNow())
            finally:
                cursor.execute("SET time_zone = DEFAULT")
        batch.refresh_from_db()
        assert abs(batch.queued_at - timezone.now()) < timedelta(minutes=1)


def test_a_lease_is_acquired_once_renewed_and_released() -> None:
    batch, rows = draft(1), MessageBatch.objects.all()
    token = rows.acquire(batch.pk)
    assert token is not None
    assert rows.acquire(batch.pk) is None
    assert rows.renew(batch.pk, token)
    assert list(rows.leased_by(batch.pk, token)) == [batch]
    assert list(rows.leased()) == [batch]
    rows.release(batch.pk, token)
    assert not rows.renew(batch.pk, token)
    assert rows.acquire(batch.pk) is not None


def test_an_expired_lease_can_be_acquired_again() -> None:
    batch, rows = draft(1), MessageBatch.objects.all()
    first = rows.acquire(batch.pk)
    assert first is not None
    age(batch)
    assert not rows.renew(batch.pk, first), "an expired lease is lost, even if no other process acquired it"
    second = rows.acquire(batch.pk)
    assert second not in {None, first}
    rows.release(batch.pk, first)
    assert rows.acquire(batch.pk) is None, "a process whose lease expired cannot release the new one"


def test_a_row_outside_the_queryset_is_not_leased() -> None:
    batch = draft(1)
    assert MessageBatch.objects.due().acquire(batch.pk) is None


@pytest.mark.django_db(transaction=True)
def test_one_of_many_threads_acquires_the_lease() -> None:
    if connection.vendor == "sqlite" and connection.is_in_memory_db():
        pytest.skip("an in-memory SQLite has one connection: tests/db/test_sqlite_processes.py has the same on a file")
    batch = draft(1)
    barrier = threading.Barrier(8)
    tokens: list[Any] = []

    def acquire() -> None:
        barrier.wait()
        tokens.append(MessageBatch.objects.acquire(batch.pk))
        connections.close_all()

    threads = [threading.Thread(target=acquire) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([token for token in tokens if token]) == 1
