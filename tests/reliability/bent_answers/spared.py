"""The parts of answers that are not bent when at most one payment is checked: the assumptions of at-most-once.md."""

from __future__ import annotations

SPARED = (
    # The status, id and error in the answer to a create call are assumed to be correct.
    *("create:status=*", "create:field=id", "create:field=error*"),
    # The tags in results prove to which attempt a batch belongs.
    "results:field=custom_id",
    # Listings may lack batches until the quiet period is over, but their entries and order are correct.
    *("list:field=id", "list:field=created_at", "list:field=data", "list:field=has_more", "list:field=*_id"),
    *("list:listing=empty", "list:listing=short", "list:listing=reordered", "list:header=date"),
)
