"""From a file to a draft: once, or not at all, whoever dies on the way."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from django_claude_batches import services, tasks
from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models import (
    BatchEvent,
    BatchRequest,
    BatchUpload,
    MessageBatch,
    State,
    UploadPart,
    UploadState,
)
from django_claude_batches.models.upload import UPLOAD_RETENTION
from django_claude_batches.pricing import bundled
from django_claude_batches.services.uploads.confirm import dispatch_due_uploads
from django_claude_batches.services.uploads.prepare import prepare, prepare_if_due
from tests.harness.factories import item

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def jsonl(count: int, **params: Any) -> bytes:
    return b"".join(json.dumps(item(number, **params)).encode() + b"\n" for number in range(count))


def upload(data: bytes | Iterable[bytes] = b"", **columns: Any) -> BatchUpload:
    chunks = [data or jsonl(3)] if isinstance(data, bytes) else data
    return BatchUpload.objects.store(chunks, **{"name": "requests.jsonl", **columns})


def table(data: bytes, **columns: Any) -> BatchUpload:
    asked = {"prompt": "Tag: {review}", "model": "claude-haiku-4-5", "max_tokens": 9, "name": "reviews.csv"}
    return upload(data, **{**asked, **columns})


def test_a_file_is_checked_and_nothing_is_drafted() -> None:
    checked = prepare(upload())
    assert (checked.state, checked.row_count, checked.request_count, checked.bad_count) == ("ready", 3, 3, 0)
    assert [sample["custom_id"] for sample in checked.samples] == ["r-0", "r-1", "r-2"]
    assert checked.is_draftable
    assert checked.next_action_at is None
    assert not MessageBatch.objects.exists()
    assert prepare(checked).state == UploadState.READY
    assert not MessageBatch.objects.exists()


def test_it_is_drafted_when_somebody_says_so_and_the_file_goes() -> None:
    checked = prepare(upload(kind="tags", label="Tags", account="second"))
    drafted = prepare(services.confirm_upload(checked))
    batch = MessageBatch.objects.get()
    assert (drafted.state, drafted.batch, drafted.samples) == (UploadState.DRAFTED, batch, [])
    assert (batch.kind, batch.label, batch.account, batch.state) == ("tags", "Tags", "second", State.DRAFT)
    assert (batch.request_count, batch.body_bytes) == (checked.request_count, checked.body_bytes)
    assert not UploadPart.objects.exists()
    assert drafted.lease_token == ""


def test_a_table_is_drafted_as_it_was_shown() -> None:
    schema = '{"type": "object"}'
    checked = prepare(table(b"review\nwarm\nitchy\n", system="Be brief.", schema=schema))
    shown = [(sample["custom_id"], sample["params"]) for sample in checked.samples]
    prepare(services.confirm_upload(checked))
    batch = MessageBatch.objects.get()
    stored = list(batch.requests.order_by("position"))
    assert [(one.custom_id, one.params_text) for one in stored] == shown
    assert batch.label == "reviews.csv"
    assert stored[0].params == {
        "model": "claude-haiku-4-5",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Tag: warm"}],
        "system": "Be brief.",
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
    }


def test_to_confirm_twice_makes_one_batch() -> None:
    checked = prepare(upload())
    again = BatchUpload.objects.get()
    services.confirm_upload(checked)
    services.confirm_upload(again)
    prepare(checked)
    services.confirm_upload(again)
    prepare(again)
    prepare_if_due(again.pk)
    assert MessageBatch.objects.count() == 1


@pytest.mark.parametrize("data", [b'{"custom_id": "x"}\n', b"\n"])
def test_what_has_a_bad_row_or_no_request_cannot_be_drafted(data: bytes) -> None:
    checked = prepare(upload(data))
    with pytest.raises(InvalidTransition, match="checked, has a request and has no bad row"):
        services.confirm_upload(checked)
    assert prepare(checked).state == UploadState.READY
    assert not MessageBatch.objects.exists()


def test_an_unchecked_file_cannot_be_drafted() -> None:
    with pytest.raises(InvalidTransition, match="which is Being checked"):
        services.confirm_upload(upload())


def test_a_bad_prompt_fails_in_words() -> None:
    failed = prepare(table(b"review\nwarm\n", prompt="{review.__class__}"))
    assert (failed.state, failed.next_action_at) == (UploadState.FAILED, None)
    assert "{review.__class__} is not just a column's name" in failed.last_error


def test_a_worker_that_died_is_replaced_and_leaves_nothing_behind() -> None:
    checked = prepare(upload())
    services.confirm_upload(checked)
    rows = BatchUpload.objects.filter(pk=checked.pk)
    assert rows.acquire(checked.pk) is not None, "somebody has it"
    handed_out: list[int] = []
    dispatch_due_uploads(handed_out.append)
    prepare_if_due(checked.pk)
    assert (handed_out, MessageBatch.objects.count()) == ([], 0)
    rows.update(lease_until=timezone.now() - timedelta(seconds=1))  # and died
    dispatch_due_uploads(prepare_if_due)
    assert (MessageBatch.objects.count(), BatchUpload.objects.get().state) == (1, UploadState.DRAFTED)


def test_of_two_that_draft_at_once_the_one_that_lost_its_lease_stores_nothing() -> None:
    checked = prepare(upload())
    services.confirm_upload(checked)

    def stolen(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        done = execute(sql, params, many, context)
        if BatchEvent._meta.db_table in sql and not thief:  # the draft is as good as there
            thief.append(1)
            BatchUpload.objects.filter(pk=checked.pk).update(lease_token="thief")
        return done

    thief: list[int] = []
    with connection.execute_wrapper(stolen):
        prepare(checked)
    assert thief == [1]
    assert not MessageBatch.objects.exists()
    assert not BatchRequest.objects.exists()
    assert BatchUpload.objects.get().state == UploadState.CONFIRMED
    assert UploadPart.objects.exists()


def test_an_error_of_this_machine_is_said_and_tried_again_a_few_times() -> None:
    checked = prepare(upload())
    services.confirm_upload(checked)

    def broken(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if BatchEvent._meta.db_table in sql:
            raise OSError("the disk is full")
        return execute(sql, params, many, context)

    for attempt in range(5):
        with connection.execute_wrapper(broken), pytest.raises(OSError, match="the disk is full"):
            prepare(checked)
        checked.refresh_from_db()
        assert checked.failures == attempt + 1
        assert checked.last_error.endswith("OSError: the disk is full")
        assert checked.lease_token == ""
        assert (checked.state == UploadState.FAILED) == (attempt == 4)
        assert (checked.next_action_at is None) == (attempt == 4)
    assert not MessageBatch.objects.exists()
    prepare(services.confirm_upload(checked))
    assert MessageBatch.objects.get().request_count == 3


def dying(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    if UploadPart._meta.db_table in sql:
        raise SystemExit  # as a killed process, it records nothing
    return execute(sql, params, many, context)


@pytest.mark.parametrize("is_checked", [False, True])
def test_an_attempt_counts_when_it_begins(is_checked: bool) -> None:
    file = upload()
    if is_checked:
        services.confirm_upload(prepare(file))
    for attempt in range(5):
        with connection.execute_wrapper(dying), pytest.raises(SystemExit):
            prepare_if_due(file.pk)
        file.refresh_from_db()
        assert (file.failures, file.is_moving) == (attempt + 1, True)
    prepare_if_due(file.pk)
    file.refresh_from_db()
    assert (file.state, file.next_action_at) == (UploadState.FAILED, None)
    assert file.last_error.startswith(
        "5 attempts in a row failed or were killed. The machine may have too little memory"
    )
    prepare_if_due(file.pk)
    again = services.confirm_upload(file) if is_checked else services.recheck_upload(file)
    assert prepare(again).state == (UploadState.DRAFTED if is_checked else UploadState.READY)


def test_only_a_file_whose_check_failed_is_checked_again() -> None:
    file = upload()
    assert services.recheck_upload(file).state == UploadState.UNCHECKED
    prepare(file)
    with pytest.raises(InvalidTransition, match=r"Cannot check requests\.jsonl again, which is Checked"):
        services.recheck_upload(file)


def test_a_check_that_takes_too_long_here_is_left_to_a_worker() -> None:
    left = prepare(upload(), seconds=0)
    assert (left.state, left.failures, left.lease_token) == (UploadState.UNCHECKED, 0, "")
    dispatch_due_uploads(prepare_if_due)
    left.refresh_from_db()
    assert (left.state, left.failures, left.row_count) == (UploadState.READY, 0, 3)


def test_a_file_that_changed_under_the_check_is_refused_by_its_draft() -> None:
    checked = prepare(upload())
    UploadPart.objects.update(data=jsonl(1) + b"{}\n")
    failed = prepare(services.confirm_upload(checked))
    assert (failed.state, failed.next_action_at) == (UploadState.FAILED, None)
    assert failed.last_error == 'requests.jsonl, line 2: each item must be a mapping with "params".'
    assert not MessageBatch.objects.exists()


def test_a_file_that_is_gone_is_refused_in_words() -> None:
    checked = prepare(upload())
    UploadPart.objects.all().delete()
    failed = prepare(services.confirm_upload(checked))
    assert failed.state == UploadState.FAILED
    assert "a batch needs at least one request, and there was none" in failed.last_error


def test_it_is_handed_out_while_it_is_due() -> None:
    first, second = upload(), upload()
    handed_out: list[int] = []
    assert dispatch_due_uploads(handed_out.append) == 2
    prepare(first)
    dispatch_due_uploads(handed_out.append)
    assert handed_out == [first.pk, second.pk, second.pk]


def test_a_file_that_nobody_drafts_goes_after_a_week() -> None:
    old, young = prepare(upload()), prepare(upload())
    BatchUpload.objects.filter(pk=old.pk).update(created_at=timezone.now() - UPLOAD_RETENTION - timedelta(minutes=1))
    dispatch_due_uploads(lambda pk: None)
    assert list(BatchUpload.objects.all()) == [young]
    assert set(UploadPart.objects.values_list("upload", flat=True)) == {young.pk}


def test_it_can_be_discarded_until_it_is_confirmed() -> None:
    checked = prepare(upload())
    services.discard_upload(checked)
    services.discard_upload(checked)
    assert not BatchUpload.objects.exists()
    assert not UploadPart.objects.exists()
    confirmed = services.confirm_upload(prepare(upload()))
    with pytest.raises(InvalidTransition, match="which is Being drafted"):
        services.discard_upload(confirmed)
    prepare(confirmed)
    with pytest.raises(InvalidTransition, match="which is Drafted"):
        services.discard_upload(confirmed)


def test_its_batch_may_be_deleted() -> None:
    drafted = prepare(services.confirm_upload(prepare(upload())))
    MessageBatch.objects.get().delete()
    drafted.refresh_from_db()
    assert (drafted.state, drafted.batch) == (UploadState.DRAFTED, None)


def test_bytes_come_back_as_they_were_whatever_the_chunks() -> None:
    data = bytes(range(256)) * 12_000
    kept = upload(data[at : at + 70_001] for at in range(0, len(data), 70_001))
    assert (kept.bytes, kept.parts.count()) == (len(data), 4)
    with kept.open() as file:
        assert file.read(10) == data[:10]
        assert file.readline() == data[10:11]
        assert file.read() == data[11:]


def test_what_is_discarded_while_it_is_checked_is_left_alone() -> None:
    begun = upload()

    def deleting(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if UploadPart._meta.db_table in sql and "SELECT" in sql and not deleted:
            deleted.append(1)
            services.discard_upload(begun)
        return execute(sql, params, many, context)

    deleted: list[int] = []
    with connection.execute_wrapper(deleting):
        prepare(begun)
    assert deleted == [1]
    assert not MessageBatch.objects.exists()
    with pytest.raises(InvalidTransition, match="it was discarded"):
        services.confirm_upload(begun)


def test_the_task_does_the_same() -> None:
    kept = upload()
    for _again in range(2):
        tasks.prepare(kept.pk)
    kept.refresh_from_db()
    assert kept.state == UploadState.READY


def test_parts_are_read_between_the_chunks_that_are_written() -> None:
    content = b"review\n" + b"".join(b"%05d %s\n" % (number, b"warm " * 200) for number in range(3500))
    checked = prepare(table(content))
    assert checked.parts.count() == 4
    prepare(services.confirm_upload(checked))
    batch = MessageBatch.objects.get()
    assert (batch.request_count, batch.body_bytes) == (3500, checked.body_bytes)
    assert batch.estimate(bundled()) == checked.estimate(bundled())
    last = batch.requests.get(position=3499)
    assert (last.custom_id, last.params["messages"][0]["content"][:10]) == ("row-3501", "Tag: 03499")


def test_what_a_model_refuses_is_kept_with_what_the_check_found() -> None:
    checked = prepare(upload(jsonl(3) + jsonl(3, model="claude-opus-5", top_k=1).replace(b"r-", b"hot-")))
    warning = "claude-opus-5 refuses top_k (3 requests, the first is hot-0)"
    assert (checked.state, checked.estimate(bundled()).warnings) == (UploadState.READY, (warning,))
    prepare(services.confirm_upload(checked))
    assert MessageBatch.objects.get().estimate(bundled()).warnings == (warning,)


@pytest.mark.parametrize("text", ["x" * 17_000_000, '"' * 5_000_000], ids=["large", "doubled"])
def test_a_row_too_large_for_a_statement_is_found_by_the_check(text: str) -> None:
    checked = prepare(upload(jsonl(1) + jsonl(1, system=text).replace(b"r-0", b"r-1")))
    if connection.vendor != "mysql":
        assert prepare(services.confirm_upload(checked)).state == UploadState.DRAFTED
        return
    assert (checked.state, checked.request_count, checked.is_full) == (UploadState.READY, 1, False)
    [[number, why]] = checked.bad_rows
    assert (number, "max_allowed_packet" in why, checked.is_draftable) == (2, True, False)
