"""The columns of an uploaded table stay with its requests, wherever these go, and no longer than these."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.models import BatchUpload, MessageBatch, State
from django_claude_batches.services.uploads.prepare import prepare
from django_claude_batches.testing import ClaudeEmulator
from django_claude_batches.testing.emulator.replies import scripted
from django_claude_batches.testing.emulator.validation.params import Failure
from tests.harness.factories import item
from tests.harness.leaks import where
from tests.harness.library.models import Book

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TABLE = {"name": "t.csv", "prompt": "{text}", "model": "claude-haiku-4-5", "max_tokens": 9}
HEADER = ["n ", "text", "text 2"]
CELLS = [["=1+1", 'a "b", c\r\nd', "😀"], ["  ", "مرحبا", "\u2028-"]]
WORD = "Quetzalcoatl"


def stored(rows: list[list[str]], **columns: Any) -> BatchUpload:
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    return BatchUpload.objects.store([file.getvalue().encode()], **{**TABLE, **columns})


def drafted(upload: BatchUpload) -> MessageBatch:
    prepare(services.confirm_upload(prepare(upload)))
    assert upload.batch is not None, (upload.last_error, upload.bad_rows)
    return upload.batch


def complete(batch: MessageBatch, replies: Any = None) -> MessageBatch:
    with ClaudeEmulator(seed=1, replies=replies or scripted({})) as claude:
        services.advance(services.submit(batch))
        claude.finish()
        return services.advance(batch)


def test_the_cells_are_kept_as_they_are() -> None:
    batch = drafted(stored([HEADER, *CELLS], name_by="n"))
    assert batch.cells_header == HEADER
    assert [(one.custom_id, one.cells) for one in batch.requests.order_by("position")] == [
        ("1-1-2", CELLS[0]),
        ("row-3", CELLS[1]),
    ]


def test_the_cells_are_not_kept_where_they_are_not_wanted() -> None:
    batch = drafted(stored([HEADER, *CELLS], keep_cells=False))
    assert (batch.cells_header, batch.requests.exclude(cells_text=None).count()) == ([], 0)


@pytest.mark.parametrize("size", [64_000, 64_001])
def test_the_row_with_too_much_to_keep_is_named(size: int) -> None:
    checked = prepare(stored([["text", "n"], ["x" * (size - len('["",""]')), ""]]))
    assert checked.bad_count == (size > 64_000)
    for number, reason in checked.bad_rows:
        assert (number, reason[:50]) == (2, "its cells have 64,001 bytes, and at most 64,000 ca")


def test_requests_of_code_may_have_cells_and_need_none() -> None:
    items = [{**item(0), "cells": ["a\0", "b"]}, item(1)]
    first, second = MessageBatch.objects.create_draft(items, cells_header=["x", "y"]).requests.order_by("position")
    assert (first.cells, second.cells, second.cells_text) == (["a\0", "b"], [], None)


@pytest.mark.parametrize("cells", ["ab", None, [1], {"a": "b"}, ["\ud83d"], ["x" * 64_000]])
def test_what_cannot_be_kept_is_refused_with_its_place(cells: Any) -> None:
    with pytest.raises(InvalidRequest) as raised:
        MessageBatch.objects.create_draft([item(0), {**item(1), "cells": cells}])
    assert (raised.value.position, raised.value.custom_id) == (1, "r-1")
    assert not MessageBatch.objects.exists()


def test_changed_params_keep_the_cells() -> None:
    request = drafted(stored([HEADER, *CELLS])).requests.get(position=0)
    request.params = {**request.params, "max_tokens": 10}
    request.save()
    request.refresh_from_db()
    assert (request.params["max_tokens"], request.cells) == (10, CELLS[0])


def test_a_retry_copies_them() -> None:
    batch = complete(drafted(stored([HEADER, *CELLS])), scripted({1: Failure("api_error", "no", while_running=True)}))
    child = services.retry(batch)
    assert (child.cells_header, [one.cells for one in child.requests.all()]) == (HEADER, [CELLS[1]])


def test_a_purge_of_requests_takes_them(settings: Any) -> None:
    month = timedelta(days=30)
    settings.CLAUDE_BATCHES = {"KICK": False, "RETENTION": {"REQUEST_BODIES": month}}
    upload = stored([["text", WORD], ["warm", "1"], ["itchy", WORD]])
    batch = complete(drafted(upload))
    assert where(WORD) == {"BatchRequest.cells_text", "MessageBatch.cells_header"}
    MessageBatch.objects.update(announced_at=timezone.now() - month - timedelta(days=1))
    [report] = services.purge()
    assert (report.request_bodies.rows, where(WORD)) == (2, set())
    batch.refresh_from_db()
    assert batch.request_purge_note


def test_a_purge_goes_on_after_params_that_are_gone_already(settings: Any) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "RETENTION": {"REQUEST_BODIES": timedelta(hours=1)}}
    batch = complete(drafted(stored([["text"], [WORD]])))
    batch.requests.update(params_text="")
    MessageBatch.objects.update(announced_at=timezone.now() - timedelta(days=1))
    services.purge()
    assert where(WORD) <= {"BatchResult.message"}
    assert batch.requests.get().cells_text is None


@pytest.mark.parametrize("is_sent", [False, True])
def test_erasing_takes_those_of_the_row(is_sent: bool) -> None:
    first, second = Book.objects.create(title="a"), Book.objects.create(title="b")
    items = [{**item(0), "target": first, "cells": [WORD]}, {**item(1), "target": second, "cells": ["kept"]}]
    batch = MessageBatch.objects.create_draft(items, cells_header=["x"])
    if is_sent:
        assert complete(batch).state == State.INGESTED
    assert services.erase(first).is_complete
    assert where(WORD) == set()
    assert batch.requests.get(custom_id="r-1").cells == ["kept"]
