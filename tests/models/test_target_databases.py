"""A target that was read from another database than its model is written to is refused, unless it is a replica."""

from __future__ import annotations

from typing import Any

import pytest

from django_claude_batches.exceptions import InvalidRequest, Unaskable
from django_claude_batches.models import BatchRequest, MessageBatch, RunState
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import item
from tests.harness.library.models import Review
from tests.harness.shop import job, over

pytestmark = pytest.mark.django_db(databases=["default", "other"])


class ReviewsAreReadElsewhere:
    """Reads come from a replica; what is written goes to the default database."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "other" if model is Review else None

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "default" if model is Review else None

    def allow_relation(self, *rows: Any, **hints: Any) -> bool:
        return True


class ReviewsLiveElsewhere(ReviewsAreReadElsewhere):
    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "other" if model is Review else None


@pytest.fixture(autouse=True)
def legacy() -> Review:
    """A row of another database, and one of the same key in the default one."""
    Review.objects.using("default").create(pk=7, text="Ours")
    return Review.objects.using("other").create(pk=7, text="Legacy")


def drafted(**options: Any) -> BatchRequest:
    target = Review.objects.using("other").get()
    return MessageBatch.objects.create_draft([{**item(0), "target": target}], **options).requests.get()


def test_a_target_of_another_database_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        drafted()
    assert "library.Review 7 was read from the database 'other'" in caught.value.reason
    assert "the row of the same key in 'default'" in caught.value.reason
    assert (caught.value.position, caught.value.custom_id) == (0, "r-0")
    assert not MessageBatch.objects.exists()


def test_replicas_are_the_same_rows() -> None:
    assert drafted(rows_are_replicas=True).object_id == "7"


@pytest.mark.parametrize("router", [ReviewsAreReadElsewhere, ReviewsLiveElsewhere])
def test_a_target_is_accepted_if_the_router_writes_to_its_database(settings: Any, router: Any) -> None:
    settings.DATABASE_ROUTERS = [router()]
    assert drafted().object_id == "7"


def tagging(**members: Any) -> Any:
    def on_result(self: Any, review: Review, result: Any) -> None:
        review.tags = "Seen"
        review.save()

    return job(get_queryset=lambda self: Review.objects.using("other"), on_result=on_result, **members)


def test_a_job_over_them_is_paused_before_anything_is_paid(claude: ClaudeEmulator) -> None:
    run = tagging().start()
    over(run, claude)
    assert (run.state, run.is_paused, len(claude.batches)) == (RunState.DRAFTING, True, 0)
    assert "library.Review 7: target" in run.pause_reason
    assert "rows_are_replicas = True" in run.pause_reason
    with pytest.raises(Unaskable, match=r"library\.Review 7: target"):
        tagging().dry_run()


def test_a_job_over_replicas_writes_to_the_row_itself(claude: ClaudeEmulator) -> None:
    run = tagging(rows_are_replicas=True).start()
    over(run, claude)
    assert run.state == RunState.FINISHED
    assert [Review.objects.using(name).get().tags for name in ("default", "other")] == ["Seen", ""]
