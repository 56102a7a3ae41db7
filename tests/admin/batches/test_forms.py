"""Only batches that are not sent can be edited, and saving never undoes a change made in between."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client, RequestFactory

from django_claude_batches import services
from django_claude_batches.admin.batches.forms import DraftForm
from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.models.batch_state import EDITABLE
from tests.admin.admin_pages import BATCHES, in_state, page, said, url
from tests.harness.factories import draft
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db
FIELDS = {"label": "Tags", "kind": "review-tags", "account": "default", "betas": "a-1, b-2"}


def save(client: Client, batch: MessageBatch, **fields: Any) -> Any:
    return client.post(url(BATCHES, "change", batch.pk), {**FIELDS, **fields})


@pytest.mark.parametrize("state", slow_but(2, State))
def test_only_what_is_not_on_its_way_can_be_edited(root: Client, batch: MessageBatch, state: State) -> None:
    in_state(batch, state)
    shown = page(root, url(BATCHES, "change", batch.pk))
    assert ('name="label"' in shown) == (state in EDITABLE)
    assert save(root, batch).status_code == (302 if state in EDITABLE else 403)
    batch.refresh_from_db()
    assert batch.label == ("Tags" if state in EDITABLE else "")
    assert batch.state == state


def test_an_edit_is_written_down(root: Client, batch: MessageBatch) -> None:
    save(root, batch)
    batch.refresh_from_db()
    assert (batch.label, batch.kind, batch.betas) == ("Tags", "review-tags", ["a-1", "b-2"])
    event = batch.events.get(what="edited")
    assert (event.text, event.by_name) == ("label, kind, betas", "ada")
    assert "Label" in LogEntry.objects.get().get_change_message()
    assert 'value="a-1, b-2"' in page(root, url(BATCHES, "change", batch.pk))
    save(root, batch)
    assert batch.events.filter(what="edited").count() == 1


@pytest.mark.parametrize(
    ("field", "value"), [("account", "nobody"), ("betas", "two words"), ("betas", "é"), ("kind", "not a slug")]
)
def test_nonsense_is_refused(root: Client, batch: MessageBatch, field: str, value: str) -> None:
    response = save(root, batch, **{field: value})
    assert response.status_code == 200
    assert list(response.context["adminform"].form.errors) == [field]
    assert not batch.events.filter(what="edited").exists()


def test_an_account_that_left_the_settings_is_kept_until_another_is_chosen(root: Client) -> None:
    batch = draft(1, account="gone")
    assert 'value="gone" selected' in page(root, url(BATCHES, "change", batch.pk))
    save(root, batch, account="gone")
    batch.refresh_from_db()
    assert (batch.account, batch.label) == ("gone", "Tags")


def test_an_edit_that_comes_too_late_writes_nothing(batch: MessageBatch) -> None:
    """The page reads the row, another user submits it, the page saves: a queued batch must stay queued."""
    form = DraftForm(FIELDS, instance=batch)
    assert form.is_valid()
    services.submit(MessageBatch.objects.get(pk=batch.pk))
    with pytest.raises(InvalidTransition, match="Waiting to be sent"):
        admin.site.get_model_admin(MessageBatch).save_model(RequestFactory().post("/"), form.instance, form, True)
    batch.refresh_from_db()
    assert (batch.state, batch.label) == (State.QUEUED, "")
    assert not batch.events.filter(what="edited").exists()


def test_the_page_says_that_it_came_too_late(root: Client, batch: MessageBatch, monkeypatch: Any) -> None:
    class Late(DraftForm):
        def full_clean(self) -> None:
            super().full_clean()
            services.submit(MessageBatch.objects.get(pk=self.instance.pk))

    monkeypatch.setattr(admin.site.get_model_admin(MessageBatch), "form", Late)
    response = save(root, batch)
    assert response.url == url(BATCHES, "change", batch.pk)
    assert said(response)[0].startswith(f"Cannot edit batch #{batch.pk}, which is Waiting to be sent")
    batch.refresh_from_db()
    assert batch.label == ""
    assert not LogEntry.objects.exists()


def test_other_columns_cannot_be_posted(root: Client, batch: MessageBatch) -> None:
    save(root, batch, state="ingested", anthropic_id="msgbatch_x", request_count="7")
    batch.refresh_from_db()
    assert (batch.state, batch.anthropic_id, batch.request_count) == (State.DRAFT, None, 3)
