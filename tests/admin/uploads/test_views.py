"""A draft from an uploaded file: upload, check, review, confirm; errors and permissions."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.admin.uploads.forms import NewBatchForm
from django_claude_batches.admin.uploads.views import AT_ONCE
from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models import AccountState, BatchUpload, MessageBatch, State, UploadState
from django_claude_batches.models.upload import MAX_UPLOAD_BYTES
from django_claude_batches.request_files import DELIMITERS
from django_claude_batches.services.uploads.confirm import dispatch_due_uploads
from django_claude_batches.services.uploads.prepare import prepare, prepare_if_due
from tests.admin.admin_pages import BATCHES, HOSTILE, page, said, url
from tests.admin.conftest import Staff
from tests.harness.factories import item

pytestmark = pytest.mark.django_db

ADD = url(BATCHES, "add")
MAY = ("add_messagebatch", "view_batchrequest", "view_messagebatch")
TABLE = {"prompt": "Tag: {review}", "model": "claude-haiku-4-5"}


def jsonl(count: int, **params: Any) -> bytes:
    return b"".join(json.dumps(item(number, **params)).encode() + b"\n" for number in range(count))


def send(client: Client, data: bytes, name: str = "requests.jsonl", **fields: Any) -> Any:
    return client.post(ADD, {"file": SimpleUploadedFile(name, data), "account": "default", **fields})


def upload_url(upload: BatchUpload) -> str:
    return url(BATCHES, "upload", upload.pk)


def change_url(upload: BatchUpload) -> str:
    return url(BATCHES, "change_upload", upload.pk)


def kept(client: Client, data: bytes, name: str = "requests.jsonl", **fields: Any) -> BatchUpload:
    response = send(client, data, name, **fields)
    upload = BatchUpload.objects.get()
    assert (response.status_code, response.url) == (302, upload_url(upload)), response.content.decode()
    return upload


def large() -> bytes:
    data = jsonl(15, system="x" * 80_000)
    assert len(data) > AT_ONCE
    return data


def test_a_table_is_uploaded_checked_and_drafted(staff: Staff) -> None:
    client = staff(*MAY)
    assert f'href="{ADD}"' in page(client, url(BATCHES))
    table = b"review,n\nwarm,1\nitchy,2\nsoft,3\nthin,4\n"
    upload = kept(client, table, "reviews.csv", **TABLE, system="Be brief.", schema='{"type": "object"}')
    shown = page(client, upload_url(upload))
    assert "This is what would be drafted" in shown
    assert "Tag: warm" in shown
    assert "Tag: soft" in shown
    assert "Tag: thin" not in shown, "the first three"
    # at most 4 * (190 / 2 * 1 + 1024 * 5) / 1e6 / 2
    assert "at most about $0.02 by the prices of" in shown
    assert "&quot;json_schema&quot;" in shown
    assert 'http-equiv="refresh"' not in shown
    assert not MessageBatch.objects.exists()
    response = client.post(upload_url(upload), {"_draft": "yes"})
    batch = MessageBatch.objects.get()
    assert said(response) == [f"Batch {batch} is a draft: nothing is sent until it is submitted."]
    assert (batch.state, batch.request_count, batch.label) == (State.DRAFT, 4, "reviews.csv")
    assert (batch.created_by_name, batch.events.get().by_name) == ("grace", "grace")
    assert client.get(upload_url(upload)).url == url(BATCHES, "change", batch.pk)


def test_a_prompt_of_several_lines_reaches_claude_as_it_was_typed(staff: Staff) -> None:
    """Browsers send CRLF as line ends."""
    upload = kept(
        staff(*MAY),
        b"review\nwarm\n",
        "reviews.csv",
        **{**TABLE, "prompt": "Tag:\r\n{review}\r\n"},
        system="Be brief.\r\nBe kind.",
    )
    params = json.loads(upload.samples[0]["params"])
    assert (params["messages"][0]["content"], params["system"]) == ("Tag:\nwarm", "Be brief.\nBe kind.")


def test_the_delimiter_may_be_chosen(staff: Staff) -> None:
    table = b"sep=,\nreview;n,x\nwarm;1,y\n"
    upload = kept(staff(*MAY), table, "reviews.csv", **TABLE, delimiter="semicolon")
    assert (upload.delimiter, upload.request_count, upload.bad_rows) == ("semicolon", 1, [])


def test_the_form_offers_each_delimiter(db: None) -> None:
    field: Any = NewBatchForm(aliases=["default"]).fields["delimiter"]
    assert [value for value, _label in field.choices] == ["", *DELIMITERS]


def test_an_excel_workbook_is_the_problem_of_the_file(staff: Staff) -> None:
    client = staff(*MAY)
    shown = page(client, upload_url(kept(client, b"PK\x03\x04" + b"x\n" * 50, "reviews.xlsx", **TABLE)))
    assert "It is an Excel workbook" in shown
    assert "Rows that cannot be sent" not in shown


def test_a_large_file_is_checked_and_drafted_by_a_worker(staff: Staff, ticking: AccountState) -> None:
    client = staff(*MAY)
    upload = kept(client, large(), label="Large", kind="tags")
    shown = page(client, upload_url(upload))
    assert 'http-equiv="refresh"' in shown
    assert "<progress" in shown
    assert "tick --loop" not in shown
    dispatch_due_uploads(prepare_if_due)
    shown = page(client, upload_url(upload))
    assert 'http-equiv="refresh"' not in shown
    client.post(upload_url(upload), {"_draft": "yes"})
    assert not MessageBatch.objects.exists()
    shown = page(client, upload_url(upload))
    assert "Being drafted" in shown
    assert 'http-equiv="refresh"' in shown
    dispatch_due_uploads(prepare_if_due)
    batch = MessageBatch.objects.get()
    assert (batch.label, batch.kind, batch.request_count) == ("Large", "tags", 15)
    assert client.get(upload_url(upload)).url == url(BATCHES, "change", batch.pk)


def test_a_short_file_of_many_requests_is_drafted_by_a_worker(staff: Staff) -> None:
    client = staff(*MAY)
    upload = kept(client, b"review\n" + b"a\n" * 1001, "reviews.csv", **TABLE)
    assert upload.state == UploadState.READY
    client.post(upload_url(upload), {"_draft": "yes"})
    assert not MessageBatch.objects.exists()
    dispatch_due_uploads(prepare_if_due)
    assert MessageBatch.objects.get().request_count == 1001


def test_a_file_whose_check_failed_is_checked_again(staff: Staff) -> None:
    client = staff(*MAY)
    upload = kept(client, large())
    again = 'name="_recheck"'
    assert again not in page(client, upload_url(upload))
    BatchUpload.objects.update(state=UploadState.FAILED, next_action_at=None, failures=6, last_error="In vain.")
    assert again in page(client, upload_url(upload))
    client.post(upload_url(upload), {"_recheck": "yes"})
    dispatch_due_uploads(prepare_if_due)
    assert "This is what would be drafted" in page(client, upload_url(upload))
    assert said(client.post(upload_url(upload), {"_recheck": "yes"})) == [
        "Cannot check requests.jsonl again, which is Checked."
    ]


def test_without_a_worker_it_says_what_to_run(staff: Staff) -> None:
    client = staff(*MAY)
    shown = page(client, upload_url(kept(client, large())))
    assert "manage.py claude_batches tick --loop" in shown


def test_the_progress_of_a_check(staff: Staff, ticking: AccountState) -> None:
    client = staff(*MAY)
    upload = kept(client, large())
    BatchUpload.objects.update(bytes_read=upload.bytes // 2, row_count=7)
    shown = page(client, upload_url(upload))
    assert 'value="49"' in shown or 'value="50"' in shown
    assert "7 rows checked so far" in shown


def test_bad_rows_are_shown_and_nothing_can_be_drafted(staff: Staff) -> None:
    client = staff(*MAY)
    upload = kept(client, jsonl(1) + b"[1]\n" + HOSTILE.encode() + b"\n")
    shown = page(client, upload_url(upload))
    assert "This file cannot be drafted" in shown
    assert '<th scope="row">2</th><td>not a JSON object' in shown
    assert '<th scope="row">3</th><td>not JSON' in shown
    assert 'name="_draft"' not in shown
    response = client.post(upload_url(upload), {"_draft": "yes"})
    assert "has no bad row" in said(response)[0]
    assert not MessageBatch.objects.exists()


def test_many_bad_rows(staff: Staff) -> None:
    client = staff(*MAY)
    shown = page(client, upload_url(kept(client, b"[1]\n" * 1500)))
    assert shown.count("not a JSON object") == 1000
    assert "and 500 more." in shown
    assert "draft FILE --dry-run" in shown


def test_what_comes_from_the_file_is_text(staff: Staff) -> None:
    client = staff(*MAY)
    upload = kept(client, f"review\n{HOSTILE}\n".encode(), f"{HOSTILE}.csv", **TABLE, label=HOSTILE, system=HOSTILE)
    for address in (upload_url(upload), ADD):
        assert HOSTILE not in page(client, address)
    assert "&lt;script&gt;" in page(client, upload_url(upload))
    bad = send(client, f'{{"custom_id": "{HOSTILE}"}}'.encode())
    assert HOSTILE not in page(client, bad.url)


def test_a_name_is_never_a_path(staff: Staff) -> None:
    upload = kept(staff(*MAY), jsonl(1), "../../etc/passwd\n.jsonl")
    assert "/" not in upload.name
    assert "\n" not in upload.name


@pytest.mark.parametrize(
    ("fields", "name", "why"),
    [
        ({}, "reviews.csv", "Enter a prompt for the rows of this file."),
        ({"prompt": "{review}"}, "reviews.csv", "Enter a model."),
        ({**TABLE, "prompt": "{review.__class__}"}, "reviews.csv", "is not just a column&#x27;s name"),
        ({**TABLE, "schema": "[1]"}, "reviews.csv", "not a JSON object"),
        ({**TABLE, "max_tokens": "0"}, "reviews.csv", "greater than or equal to 1"),
        ({"model": "claude-haiku-4-5"}, "requests.jsonl", "Only for a CSV file with a prompt"),
        ({"account": "nobody"}, "requests.jsonl", "not one of the available choices"),
        ({"kind": "not a slug"}, "requests.jsonl", "valid “slug”"),
        ({"label": "x" * 201}, "requests.jsonl", "at most 200 characters"),
    ],
)
def test_a_form_that_is_wrong_says_so_and_keeps_the_file(
    staff: Staff, fields: dict[str, str], name: str, why: str
) -> None:
    client = staff(*MAY)
    response = send(client, b"review\nwarm\n", name, **fields)
    assert response.status_code == 200
    assert why in response.content.decode()
    upload = BatchUpload.objects.get()
    assert (upload.state, upload.account, upload.next_action_at) == (UploadState.FAILED, "default", None)
    assert upload.last_error
    assert 'name="_draft"' not in page(client, upload_url(upload))
    dispatch_due_uploads(lambda pk: pytest.fail("it is not due"))
    right = {**TABLE, "account": "default"} if name.endswith(".csv") else {"account": "default"}
    assert f'action="{change_url(upload)}"' in response.content.decode()
    assert client.post(change_url(upload), right).url == upload_url(upload)
    upload.refresh_from_db()
    assert upload.last_error == ""
    assert (upload.state, upload.row_count) == (UploadState.READY, 1 if name.endswith(".csv") else 2)


def test_what_was_typed_is_kept_where_the_form_is_wrong(staff: Staff) -> None:
    client = staff(*MAY)
    typed = {**TABLE, "prompt": "Tag {review", "system": "Be\r\nbrief.", "schema": "{", "label": "L", "max_tokens": "9"}
    shown = send(client, b"review\nwarm\n", "reviews.csv", **typed).content.decode()
    upload = BatchUpload.objects.get()
    assert "reviews.csv is kept" in shown
    assert [upload.prompt, upload.system, upload.schema, upload.label] == ["Tag {review", "Be\nbrief.", "{", "L"]
    assert (upload.model, upload.max_tokens) == (TABLE["model"], 9)
    shown = page(client, change_url(upload))
    for text in ("Tag {review", "Be\nbrief.", TABLE["model"], 'value="9"'):
        assert text in shown
    assert "Prompt: The prompt has an unmatched brace" in page(client, upload_url(upload))


def test_what_no_database_stores_is_not_kept(staff: Staff) -> None:
    send(staff(*MAY), b"review\nwarm\n", "reviews.csv", **{**TABLE, "prompt": "x\0{review}"}, schema="[")
    upload = BatchUpload.objects.get()
    assert (upload.state, upload.prompt, upload.schema) == (UploadState.FAILED, "", "[")


class TestChanging:
    def test_the_prompt_is_changed_and_the_file_checked_again(self, staff: Staff) -> None:
        client = staff(*MAY)
        upload = kept(client, b"review,n\nwarm,1\nitchy,2\n", "reviews.csv", **{**TABLE, "prompt": "Tag: {rewiev}"})
        shown = page(client, upload_url(upload))
        assert "The prompt names a column &#x27;rewiev&#x27; (did you mean &#x27;review&#x27;?)" in shown
        assert "Rows that cannot be sent" not in shown
        assert "Estimate" not in shown
        assert "<td>0</td>" in shown
        assert "Change the prompt and check again" in shown
        assert "Tag: {rewiev}" in page(client, change_url(upload))
        fields = {**TABLE, "account": "default", "name_by": "n", "keep_cells": "on"}
        client.post(change_url(upload), fields)
        upload.refresh_from_db()
        assert (upload.state, upload.request_count, upload.bad_rows) == (UploadState.READY, 2, [])
        assert [sample["custom_id"] for sample in upload.samples] == ["1", "2"]
        client.post(upload_url(upload), {"_draft": "yes"})
        assert MessageBatch.objects.get().cells_header == ["review", "n"]

    def test_a_wrong_change_changes_nothing(self, staff: Staff) -> None:
        client = staff(*MAY)
        upload = kept(client, b"review\nwarm\n", "reviews.csv", **TABLE)
        response = client.post(change_url(upload), {**TABLE, "account": "default", "prompt": "{"})
        assert "an unmatched brace" in response.content.decode()
        upload.refresh_from_db()
        assert (upload.state, upload.prompt) == (UploadState.READY, TABLE["prompt"])

    @pytest.mark.parametrize("state", [UploadState.UNCHECKED, UploadState.CONFIRMED])
    def test_an_upload_is_not_changed_while_a_worker_works_on_it(self, staff: Staff, state: UploadState) -> None:
        client = staff(*MAY)
        upload = kept(client, b"review\nwarm\n", "reviews.csv", **TABLE)
        stale = BatchUpload.objects.get()
        BatchUpload.objects.update(state=state, next_action_at=timezone.now())
        assert "Change the prompt" not in page(client, upload_url(upload))
        assert client.post(change_url(upload), {**TABLE, "account": "default"}).url == upload_url(upload)
        with pytest.raises(InvalidTransition, match="Cannot change reviews"):
            services.change_upload(stale, prompt="Other: {review}")
        assert BatchUpload.objects.get().prompt == TABLE["prompt"]

    @pytest.mark.parametrize("missing", ["add_messagebatch", "view_batchrequest"])
    def test_changing_requires_the_permissions_of_a_new_batch(self, staff: Staff, root: Client, missing: str) -> None:
        upload = kept(root, b"review\nwarm\n", "reviews.csv", **TABLE)
        client = staff(*(name for name in MAY if name != missing))
        assert client.get(change_url(upload)).status_code == 403
        assert client.post(change_url(upload), {**TABLE, "account": "default"}).status_code == 403

    def test_a_file_that_was_discarded(self, staff: Staff) -> None:
        assert staff(*MAY).get(url(BATCHES, "change_upload", 4711)).url == ADD


class TestModels:
    def test_the_list_has_the_prices_of_a_batch(self, staff: Staff) -> None:
        shown = page(staff(*MAY), ADD)
        assert '<option value="claude-haiku-4-5">$0.50 in, $2.50 out</option>' in shown
        assert 'list="model-names"' in shown

    def test_prices_of_the_settings_are_shown_and_wrong_ones_break_nothing(self, staff: Staff, settings: Any) -> None:
        client = staff(*MAY)
        settings.CLAUDE_BATCHES = {"PRICES": {"my-model": {"input": "3", "output": "0.30"}}}
        assert '<option value="my-model">$1.50 in, $0.15 out</option>' in page(client, ADD)
        settings.CLAUDE_BATCHES = {"PRICES": {"my-model": {"input": "x"}}}
        assert '<option value="claude-haiku-4-5">' in page(client, ADD)

    def test_an_unknown_model_is_warned_of(self, staff: Staff) -> None:
        client = staff(*MAY)
        upload = kept(client, b"review\nwarm\n", "reviews.csv", **{**TABLE, "model": f"claude-{HOSTILE}"})
        shown = page(client, upload_url(upload))
        assert "is not a known model" in shown
        assert HOSTILE not in shown
        assert "Make it a draft" in shown

    def test_a_known_model_is_not_warned_of(self, staff: Staff) -> None:
        client = staff(*MAY)
        upload = kept(client, b"review\nwarm\n", "reviews.csv", **{**TABLE, "model": "claude-haiku-4-5-20251001"})
        assert "is not a known model" not in page(client, upload_url(upload))

    @pytest.mark.parametrize(
        ("model", "tokens", "is_refused"),
        [
            ("claude-haiku-4-5", 64_000, False),
            ("claude-haiku-4-5", 64_001, True),
            ("claude-haiku-4-5-20251001", 64_001, True),
            ("claude-opus-4-6", 300_000, False),
            ("claude-opus-4-6", 300_001, True),
            ("another", 900_000, False),
        ],
    )
    def test_max_tokens_are_those_of_the_model(self, staff: Staff, model: str, tokens: int, is_refused: bool) -> None:
        fields = {**TABLE, "model": model, "max_tokens": tokens}
        shown = send(staff(*MAY), b"review\nwarm\n", "reviews.csv", **fields)
        assert (shown.status_code == 200) == is_refused
        assert not is_refused or "refuses max_tokens above" in shown.content.decode()


def test_the_schema_is_a_schema(staff: Staff) -> None:
    fields = {**TABLE, "schema": '{"type": "objekt"}'}
    shown = send(staff(*MAY), b"review\nwarm\n", "reviews.csv", **fields).content.decode()
    assert "The output schema is not a valid JSON Schema" in shown


def test_the_preview_shows_texts_and_folds_the_json(staff: Staff) -> None:
    client = staff(*MAY)
    upload = kept(client, b"review\nwarm\n", "reviews.csv", **TABLE, system="Be\nbrief.")
    shown = page(client, upload_url(upload))
    assert '<h3>System</h3><pre tabindex="0">Be\nbrief.</pre>' in shown
    assert '<h3>Prompt</h3><pre tabindex="0">Tag: warm</pre>' in shown
    assert "<details><summary>" in shown


def test_blocks_are_shown_as_texts(staff: Staff) -> None:
    client = staff(*MAY)
    blocks = [{"type": "image"}, {"type": "text", "text": "What is it?"}]
    upload = kept(client, json.dumps(item(0, messages=[{"role": "user", "content": blocks}])).encode())
    assert '<h3>Prompt</h3><pre tabindex="0">[image]\nWhat is it?</pre>' in page(client, upload_url(upload))


@pytest.mark.parametrize("messages", [[1, 2], "x"])
def test_a_request_of_another_form_is_shown_as_json(staff: Staff, messages: Any) -> None:
    client = staff(*MAY)
    upload = kept(client, jsonl(1))
    upload.samples = [{**upload.samples[0], "params": json.dumps({"messages": messages})}]
    upload.save()
    assert "<details open>" in page(client, upload_url(upload))


def test_no_file_and_an_empty_one(staff: Staff) -> None:
    client = staff(*MAY)
    assert "This field is required" in client.post(ADD, {"account": "default"}).content.decode()
    assert "The submitted file is empty" in send(client, b"").content.decode()


def test_a_file_that_is_too_large_is_refused(db: None) -> None:
    file = SimpleUploadedFile("requests.jsonl", b"x")
    file.size = MAX_UPLOAD_BYTES + 1
    form = NewBatchForm({"account": "default"}, {"file": file}, aliases=["default"])
    assert "at most 512,000,000 are allowed" in str(form.errors["file"])


def test_a_file_of_nothing_but_blanks(staff: Staff) -> None:
    client = staff(*MAY)
    assert "There is no request in this file" in page(client, upload_url(kept(client, b"\n \n")))


def test_confirmed_twice_it_is_one_batch(staff: Staff) -> None:
    client = staff(*MAY)
    upload = kept(client, jsonl(2))
    for _again in range(2):
        client.post(upload_url(upload), {"_draft": "yes"})
    assert MessageBatch.objects.count() == 1


def test_it_can_be_discarded_and_found_again_until_then(staff: Staff) -> None:
    client = staff(*MAY)
    upload = kept(client, jsonl(2))
    assert upload_url(upload) in page(client, ADD)
    response = client.post(upload_url(upload), {"_discard": "yes"})
    assert response.url == ADD
    assert not BatchUpload.objects.exists()
    gone = client.get(upload_url(upload))
    assert (gone.status_code, gone.url) == (302, ADD)
    assert client.post(upload_url(upload), {"_draft": "yes"}).url == ADD
    assert not MessageBatch.objects.exists()


def test_what_is_being_drafted_cannot_be_discarded(staff: Staff) -> None:
    client = staff(*MAY)
    upload = kept(client, large())
    prepare(upload)
    client.post(upload_url(upload), {"_draft": "yes"})
    assert "Cannot discard" in said(client.post(upload_url(upload), {"_discard": "yes"}))[0]
    assert BatchUpload.objects.get().state == UploadState.CONFIRMED


def test_its_failure_is_shown_and_it_can_be_tried_again(staff: Staff) -> None:
    client = staff(*MAY)
    upload = kept(client, jsonl(2))
    BatchUpload.objects.update(state=UploadState.FAILED, last_error="OSError: the disk is full")
    shown = page(client, upload_url(upload))
    assert "OSError: the disk is full" in shown
    client.post(upload_url(upload), {"_draft": "yes"})
    assert MessageBatch.objects.get().request_count == 2


def test_a_check_continues_after_a_worker_died(staff: Staff) -> None:
    client = staff(*MAY)
    upload = kept(client, large())
    assert BatchUpload.objects.all().acquire(upload.pk) is not None
    BatchUpload.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    dispatch_due_uploads(prepare_if_due)
    assert "This is what would be drafted" in page(client, upload_url(upload))


@pytest.mark.parametrize("missing", ["add_messagebatch", "view_batchrequest"])
def test_a_new_batch_requires_both_permissions(staff: Staff, root: Client, missing: str) -> None:
    upload = kept(root, jsonl(2))
    client = staff(*(name for name in MAY if name != missing))
    assert ADD not in page(client, url(BATCHES))
    for address in (ADD, upload_url(upload)):
        assert client.get(address).status_code == 403
    assert send(client, jsonl(1)).status_code == 403
    for wish in ("_draft", "_discard"):
        assert client.post(upload_url(upload), {wish: "yes"}).status_code == 403
    assert BatchUpload.objects.get().state == UploadState.READY
    assert not MessageBatch.objects.exists()


def test_anonymous_users_are_redirected_to_the_login(client: Client, root: Client) -> None:
    upload = kept(root, jsonl(2))
    for address in (ADD, upload_url(upload)):
        assert client.get(address).url.startswith("/admin/login/")
        assert client.post(address, {"_draft": "yes"}).url.startswith("/admin/login/")
    assert not MessageBatch.objects.exists()


def test_a_get_changes_nothing(staff: Staff) -> None:
    client = staff(*MAY)
    upload = kept(client, jsonl(2))
    client.get(upload_url(upload), {"_draft": "yes"})
    client.get(upload_url(upload), {"_discard": "yes"})
    assert BatchUpload.objects.get().state == UploadState.READY


def test_a_post_needs_its_csrf_token(root: Client) -> None:
    upload = kept(root, jsonl(2))
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = root.cookies
    assert strict.post(upload_url(upload), {"_draft": "yes"}).status_code == 403
    assert send(strict, jsonl(1)).status_code == 403


def test_users_who_may_not_view_batches_see_that_a_batch_was_made(staff: Staff) -> None:
    client = staff("add_messagebatch", "view_batchrequest")
    upload = kept(client, jsonl(2))
    client.post(upload_url(upload), {"_draft": "yes"})
    assert "A batch was made from this file" in page(client, upload_url(upload))


def test_what_a_model_refuses_is_said_once_for_all_rows(staff: Staff) -> None:
    client = staff(*MAY)
    upload = kept(
        client, b"review\na\nb\n", "reviews.csv", **{**TABLE, "model": "claude-opus-4-6", "max_tokens": 200_000}
    )
    shown = page(client, upload_url(upload))
    assert shown.count("claude-opus-4-6 refuses max_tokens above 128,000 (2 requests, the first is row-2)") == 1
    assert "Make it a draft" in shown
