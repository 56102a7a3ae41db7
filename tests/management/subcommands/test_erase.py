from __future__ import annotations

from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import BatchRequest, MessageBatch
from django_claude_batches.services.polling.loss import RESULTS_LAST
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import item
from tests.harness.library.models import Parcel, Review
from tests.management.conftest import Manage

pytestmark = pytest.mark.django_db


@pytest.fixture
def review(claude: ClaudeEmulator) -> Review:
    """A row that was asked about, and answered."""
    review = Review.objects.create(text="secret")
    batch = services.advance(services.submit(drafted(review)))
    claude.finish()
    services.advance(batch)
    return review


def drafted(row: Any) -> MessageBatch:
    return MessageBatch.objects.create_draft([{**item(0), "target": row}, item(1)])


def test_it_says_what_it_did_and_what_anthropic_has(manage: Manage, review: Review) -> None:
    batch = MessageBatch.objects.get()
    ran = manage("erase", f"library.Review:{review.pk}")
    assert batch.created_at is not None
    until = f"{batch.created_at + RESULTS_LAST:%Y-%m-%d}"
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        f"library.Review:{review.pk}: 1 request emptied.\n"
        f"  Anthropic has it until {until}, in {batch.anthropic_id}. To delete that batch there, with all its "
        f"requests: manage.py claude_batches delete-remote {batch.pk}\n"
    )
    assert "1 already erased" in manage("erase", f"library.Review:{review.pk}").out


def test_what_was_made_twice_is_deleted_otherwise(manage: Manage, review: Review) -> None:
    batch, now = MessageBatch.objects.get(), timezone.now()
    batch.attempts.create(number=2, tag="x", recorded_at=now, sent_at=now, remote_id="msgbatch_second")
    out = manage("erase", f"library.Review:{review.pk}").out
    assert f"a second time, in msgbatch_second, which another create call for batch {batch.pk} made." in out
    assert "claude_batches adopt msgbatch_second, and delete" in out


def test_for_a_script(manage: Manage, review: Review) -> None:
    review_key, unsent = review.pk, drafted(review)
    review.delete()
    [row] = manage("erase", f"library.review:{review_key}", "--json").document["rows"]
    assert (row["requests"], row["from_drafts"], row["refused"]) == (1, 1, [])
    assert row["copies"][0]["batch"] != unsent.pk


def test_what_is_being_sent_is_refused(manage: Manage, review: Review) -> None:
    batch = services.submit(drafted(review))
    ran = manage("erase", f"library.Review:{review.pk}")
    assert ran.code == 1
    assert f"Batch #{batch.pk} is Waiting to be sent: it is about to be sent as it is. Take it back" in ran.err
    assert f"Not completely erased: library.Review:{review.pk}." in ran.err


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("17", "does not name a row"),
        ("library.Review", "does not name a row"),
        ("library.Review:", "does not name a row"),
        ("library.Nothing:1", "There is no model library.Nothing, and no content type"),
        ("library.Review:x", "'x' is not a key of library.Review."),
        ("library.Nothing:1", "remove_stale_contenttypes has removed it"),
    ],
)
def test_what_names_no_row_is_wrong_usage(manage: Manage, name: str, why: str) -> None:
    ran = manage("erase", name)
    assert (ran.code, why in ran.err) == (2, True)


def test_a_key_is_read_as_its_model_does(manage: Manage) -> None:
    parcel = Parcel.objects.create()
    drafted(parcel)
    assert "1 removed from drafts" in manage("erase", f"library.Parcel:{parcel.pk.hex.upper()}").out


def test_a_model_that_is_gone(manage: Manage, review: Review, gone_model: ContentType) -> None:
    BatchRequest.objects.filter(object_id=review.pk).update(content_type=gone_model, object_id="a:b")
    assert "1 request emptied" in manage("erase", "library.Leaflet:a:b").out
