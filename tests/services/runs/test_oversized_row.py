"""A row that no batch can hold. It takes a quarter of a gigabyte, so no other database is asked."""

from __future__ import annotations

from typing import Any

import pytest

from django_claude_batches.exceptions import Unaskable
from django_claude_batches.services.runs.drive import drive_if_due
from tests.harness.library.models import Review
from tests.harness.shop import job, reviews

pytestmark = pytest.mark.django_db


@pytest.mark.slow
def test_a_row_too_large_for_any_batch_pauses_the_run() -> None:
    rows = reviews(3)

    def get_prompt(self: Any, review: Review) -> str:
        return "x" * 256_000_000 if review.pk == rows[1].pk else review.text

    large = job(get_prompt=get_prompt)
    run = large.start()
    drive_if_due(run.pk)
    run.refresh_from_db()
    assert (run.is_paused, run.row_count) == (True, 1)
    told = f"library.Review {rows[1].pk}: a batch with this request alone has 256,000,1"
    assert run.pause_reason.startswith(told)
    with pytest.raises(Unaskable, match=told):
        large.dry_run()
