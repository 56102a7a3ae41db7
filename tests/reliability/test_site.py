"""A run of a site without faults, as the baseline."""

from __future__ import annotations

import pytest

from django_claude_batches import services
from tests.harness.factories import draft
from tests.reliability.site import Site

pytestmark = pytest.mark.process


@pytest.mark.fault("None", "`tick` processes, one after the other")
def test_a_good_day(site: Site, database: str, trial: int) -> None:
    services.submit(draft(3))
    site.until(site.is_complete, do=site.retry_now)
    site.check()
