"""What is not bent where a submission must be paid once at most: what docs/topics/at-most-once.md still assumes."""

from __future__ import annotations

SPARED = (
    # What an answer to a create call says is believed: whether it was made, and its id.
    *("create:status=*", "create:field=id", "create:field=error*"),
    # A tag is what proves whose a batch is.
    "results:field=custom_id",
    # Listings may come late, until the quiet period is over. What they show is in its place and order.
    *("list:field=id", "list:field=created_at", "list:field=data", "list:field=has_more", "list:field=*_id"),
    *("list:listing=empty", "list:listing=short", "list:listing=reordered", "list:header=date"),
)
