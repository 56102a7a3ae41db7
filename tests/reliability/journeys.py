"""What each of the package's works leaves behind on its way, in order: every commit, call and receiver."""

from __future__ import annotations

from django_claude_batches import services
from tests.reliability.beginnings import (
    complete,
    drafts,
    ended,
    fault,
    finished_and_never_listed,
    finished_for_the_first_tick,
    killed_at,
    ordered,
    queued,
    refused_key,
    running,
    searched_once,
    unanswered,
    wished,
)
from tests.reliability.journey import Journey

CLAIMED = "advancing._work > LeasedQuerySet.acquire: UPDATE messagebatch"
RELEASED = "advancing._work > LeasedQuerySet.release: UPDATE messagebatch"
OBSERVED = "synchronization.observe: COMMIT"
SETTLED = "settling._settle: COMMIT"
LISTED = "searching.list_back: GET /batches"
ASKED, KEPT = "pages._opened: INSERT openlisting", "pages._close: COMMIT"
"""Around a page that is listed while something is searched for."""
TOLD_SUBMITTED = "announcing.tell: receiver of batch_submitted"
TOLD_UNCERTAIN = "announcing.tell: receiver of submission_uncertain"
TOLD_ENDED = "announcing.tell: receiver of batch_ended"
OLDER = "baseline._older: GET /batches"
"""Where more than 20 batches are a few minutes old."""
SENT_ONCE = (
    "submission._intend: COMMIT",
    "baseline.take: GET /batches",
    OLDER,
    "baseline.note: UPDATE submitattempt",
    "submission._fence: COMMIT",
    "submission._post: POST /batches",
)
ACCEPTED = ("accepting._write_down: UPDATE submitattempt", "accepting.accepted: COMMIT", TOLD_SUBMITTED)
PROOF = (
    "proving.read: GET /batches/ID/results",
    "accepting.proven: COMMIT",
    TOLD_SUBMITTED,
)
REMEMBERED = "remembering._add: COMMIT"
FETCHED = (
    "downloading.Download.run: GET /batches/ID/results",
    "ingestion._store: COMMIT",
    "ingestion._store: COMMIT",
)
ANNOUNCED = (
    "ingestion._close: COMMIT",
    "announcing.announce > LeasedQuerySet.renew: UPDATE messagebatch",
    "announcing.tell: receiver of results_ingested",
    "announcing.tell: COMMIT",  # the receiver's own
    "announcing.announce: COMMIT",
)

JOURNEYS: dict[str, Journey] = {
    "submit": Journey(
        ordered("submit", drafts),
        (
            "submission.submit > Machine.move: UPDATE messagebatch",
            "submission.submit > MessageBatch.note: INSERT batchevent",
        ),
        repeats=True,
    ),
    "send": Journey(ordered("advance", queued), (CLAIMED, *SENT_ONCE, *ACCEPTED, RELEASED)),
    "send, and be told to wait": Journey(
        ordered("advance", queued),
        (CLAIMED, *SENT_ONCE, SETTLED, RELEASED),
        set_up=fault("rate_limited", on="create"),
    ),
    "send, with a key that is refused": Journey(
        ordered("advance", queued),
        (CLAIMED, *SENT_ONCE, SETTLED, RELEASED),
        set_up=refused_key,
    ),
    "send, and get no answer": Journey(
        ordered("advance", queued),
        (CLAIMED, *SENT_ONCE, SETTLED, TOLD_UNCERTAIN, RELEASED),
        set_up=fault("lost_answer"),
    ),
    "come after a death before the call": Journey(
        ordered("advance", killed_at("after submission._intend: COMMIT")), (CLAIMED, SETTLED, RELEASED)
    ),
    "come after a death during the call": Journey(
        ordered("advance", killed_at("sent submission._post: POST /batches")),
        (CLAIMED, SETTLED, TOLD_UNCERTAIN, RELEASED),
    ),
    "come after a death with the answer": Journey(
        ordered("advance", killed_at(f"after {ACCEPTED[0]}")),
        (CLAIMED, "accepting.accepted: COMMIT", TOLD_SUBMITTED, RELEASED),
    ),
    "poll": Journey(
        ordered("poll", running),
        (
            "pausing.account_state: COMMIT",
            "advancing._look_after: UPDATE accountstate",
            "synchronization.poll_account > LeasedQuerySet.acquire: UPDATE accountstate",
            "synchronization._listed: GET /batches",
            OBSERVED,
            TOLD_ENDED,
            "synchronization.poll_account > LeasedQuerySet.release: UPDATE accountstate",
        ),
        set_up=finished_for_the_first_tick,
    ),
    "poll one": Journey(
        ordered("advance", running), (CLAIMED, "synchronization.poll: GET /batches/ID", OBSERVED, RELEASED)
    ),
    "poll one that is not found": Journey(
        ordered("advance", running),
        (
            CLAIMED,
            "synchronization.poll: GET /batches/ID",
            "vanishing.missed: UPDATE messagebatch",
            "synchronization.poll > Machine.reschedule: UPDATE messagebatch",
            RELEASED,
        ),
        set_up=fault("not_found", on="retrieve"),
    ),
    "fetch and announce": Journey(ordered("advance", ended), (CLAIMED, *FETCHED, *ANNOUNCED, RELEASED)),
    "fetch what breaks off": Journey(
        ordered("advance", ended),
        (CLAIMED, *FETCHED[:2], "ingestion.ingest > Machine.reschedule: UPDATE messagebatch", RELEASED),
        set_up=fault("cut_mid_line", after=1),
    ),
    "fetch what is not all": Journey(
        ordered("advance", ended),
        (CLAIMED, *FETCHED, "ingestion._close > Machine.move: UPDATE messagebatch", RELEASED),
        set_up=fault("missing_line"),
    ),
    "prove, poll, fetch and announce": Journey(
        ordered("advance", unanswered("lost_answer")),
        (
            CLAIMED,
            *(ASKED, LISTED, REMEMBERED, KEPT),
            *PROOF,
            "synchronization.poll: GET /batches/ID",
            OBSERVED,
            TOLD_ENDED,
            *FETCHED,
            *ANNOUNCED,
            RELEASED,
        ),
        set_up=finished_and_never_listed,
    ),
    "find nothing": Journey(
        ordered("advance", unanswered("never_lands")),
        (
            CLAIMED,
            *(ASKED, LISTED, KEPT),
            "reconciliation._judge > Machine.reschedule: UPDATE messagebatch",
            RELEASED,
        ),
    ),
    "find nothing again, and send anew": Journey(
        ordered("advance", unanswered("never_lands")),
        (
            CLAIMED,
            *(ASKED, LISTED, KEPT),
            "reconciliation._count: UPDATE submitattempt",
            SETTLED,
            *(SENT_ONCE[0], ASKED, SENT_ONCE[1], KEPT, ASKED, OLDER, KEPT, *SENT_ONCE[3:]),  # others are searched for
            *ACCEPTED,
            RELEASED,
        ),
        set_up=searched_once,
    ),
    "find what was given up": Journey(
        ordered("watch", wished(services.abandon, unanswered("lost_answer"))),
        ("watching._due > AccountStateQuerySet.take_turn: UPDATE accountstate", LISTED, REMEMBERED, *PROOF),
        set_up=finished_and_never_listed,
    ),
    "wish to cancel": Journey(
        ordered("cancel", running),
        (
            "cancellation.cancel > Machine.move: UPDATE messagebatch",
            "cancellation.cancel > Machine.wish: UPDATE messagebatch",
            "cancellation.cancel > MessageBatch.note: INSERT batchevent",
        ),
        repeats=True,
    ),
    "cancel": Journey(
        ordered("advance", wished(services.cancel, running)),
        (CLAIMED, "cancellation.perform: POST /batches/ID/cancel", OBSERVED, RELEASED),
    ),
    "wish to delete": Journey(
        ordered("delete_remote", complete),
        (
            "deletion.delete_remote > Machine.wish: UPDATE messagebatch",
            "deletion.delete_remote > Machine.wish: UPDATE messagebatch",
            "deletion.delete_remote > MessageBatch.note: INSERT batchevent",
        ),
        repeats=True,
    ),
    "delete": Journey(
        ordered("advance", wished(services.delete_remote, complete)),
        (
            CLAIMED,
            "deletion.perform > MessageBatch.note: INSERT batchevent",
            "deletion.perform: DELETE /batches/ID",
            "deletion._deleted > Machine.move: UPDATE messagebatch",
            "deletion._deleted > MessageBatch.note: INSERT batchevent",
            RELEASED,
        ),
    ),
    "adopt": Journey(
        lambda crew, count: [{"verb": "adopt", "id": crew.claude.add_stranger(3)} for _ in range(count)],
        ("adoption.adopt: GET /batches/ID", "adoption._mirror: COMMIT"),
        repeats=True,
    ),
}
