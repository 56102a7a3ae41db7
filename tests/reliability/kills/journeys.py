"""The journeys, each with its effects in order: every commit, call and receiver."""

from __future__ import annotations

from django_claude_batches import services
from tests.reliability.kills.beginnings import (
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
from tests.reliability.kills.journey import Journey

CLAIMED = RELEASED = "engine._work > LeasedQuerySet.lease: UPDATE messagebatch"
OBSERVED = "poll.update_from_remote: COMMIT"
NOT_SENT = "close_attempt.record_not_sent: COMMIT"
UNCERTAIN = "close_attempt.record_uncertain: COMMIT"
NOT_RECEIVED = "close_attempt.record_not_received: COMMIT"
LISTED = "search.list_back_to: GET /batches"

# The effects around each page of a listing during a search.
ASKED, KEPT = "page._create_open_listing: INSERT openlisting", "page._close_listing: COMMIT"
TOLD_SUBMITTED = "announcements.send_signal: receiver of batch_submitted"
TOLD_UNCERTAIN = "announcements.send_signal: receiver of submission_uncertain"
TOLD_ENDED = "announcements.send_signal: receiver of batch_ended"

# With more than 20 batches that are a few minutes old.
OLDER = "baseline._take_baseline: GET /batches"
SENT_ONCE = (
    "send._open_attempt: COMMIT",
    "baseline._take_baseline: GET /batches",
    OLDER,
    "baseline._store_baseline: UPDATE submitattempt",
    "send._mark_sent: COMMIT",
    "send._post: POST /batches",
)
ACCEPTED = ("acceptance._store_remote_id: UPDATE submitattempt", "acceptance.record_acceptance: COMMIT", TOLD_SUBMITTED)
PROOF = (
    "proof.read: GET /batches/ID/results",
    "acceptance.assign_proven: COMMIT",
    TOLD_SUBMITTED,
)
REMEMBERED = "candidates._add: COMMIT"
FETCHED = (
    "download.Download.run: GET /batches/ID/results",
    "ingest._store: COMMIT",
    "ingest._store: COMMIT",
)
ANNOUNCED = (
    "ingest._finish: COMMIT",
    "announcements.announce > LeasedQuerySet.renew: UPDATE messagebatch",
    "announcements.send_signal: receiver of results_ingested",
    "announcements.send_signal: COMMIT",  # the commit of the project's receiver
    "announcements.announce: COMMIT",
)

JOURNEYS: dict[str, Journey] = {
    "submit": Journey(
        ordered("submit", drafts),
        (
            "submit.submit > WorkItem.move: UPDATE messagebatch",
            "submit.submit > MessageBatch.log_event: INSERT batchevent",
        ),
        repeats=True,
    ),
    "send": Journey(ordered("advance", queued), (CLAIMED, *SENT_ONCE, *ACCEPTED, RELEASED)),
    "send, and be told to wait": Journey(
        ordered("advance", queued),
        (CLAIMED, *SENT_ONCE, NOT_SENT, RELEASED),
        set_up=fault("rate_limited", on="create"),
    ),
    "send, with a key that is refused": Journey(
        ordered("advance", queued),
        (CLAIMED, *SENT_ONCE, NOT_SENT, RELEASED),
        set_up=refused_key,
    ),
    "send, and get no answer": Journey(
        ordered("advance", queued),
        (CLAIMED, *SENT_ONCE, UNCERTAIN, TOLD_UNCERTAIN, RELEASED),
        set_up=fault("lost_answer"),
    ),
    "come after a death before the call": Journey(
        ordered("advance", killed_at("after send._open_attempt: COMMIT")), (CLAIMED, NOT_SENT, RELEASED)
    ),
    "come after a death during the call": Journey(
        ordered("advance", killed_at("sent send._post: POST /batches")),
        (CLAIMED, UNCERTAIN, TOLD_UNCERTAIN, RELEASED),
    ),
    "come after a death with the answer": Journey(
        ordered("advance", killed_at(f"after {ACCEPTED[0]}")),
        (CLAIMED, "acceptance.record_acceptance: COMMIT", TOLD_SUBMITTED, RELEASED),
    ),
    "poll": Journey(
        ordered("poll", running),
        (
            "account_pauses.account_state: COMMIT",
            "engine._tend_account: UPDATE accountstate",
            "poll_account.poll_account > LeasedQuerySet.lease: UPDATE accountstate",
            "poll_account._listed: GET /batches",
            OBSERVED,
            TOLD_ENDED,
            "poll_account.poll_account > LeasedQuerySet.lease: UPDATE accountstate",
        ),
        set_up=finished_for_the_first_tick,
    ),
    "poll one": Journey(ordered("advance", running), (CLAIMED, "poll.poll: GET /batches/ID", OBSERVED, RELEASED)),
    "poll one that is not found": Journey(
        ordered("advance", running),
        (
            CLAIMED,
            "poll.poll: GET /batches/ID",
            "loss.record_miss: UPDATE messagebatch",
            "poll.poll > WorkItem.reschedule: UPDATE messagebatch",
            RELEASED,
        ),
        set_up=fault("not_found", on="retrieve"),
    ),
    "fetch and announce": Journey(ordered("advance", ended), (CLAIMED, *FETCHED, *ANNOUNCED, RELEASED)),
    "fetch what breaks off": Journey(
        ordered("advance", ended),
        (CLAIMED, *FETCHED[:2], "ingest.ingest > WorkItem.reschedule: UPDATE messagebatch", RELEASED),
        set_up=fault("cut_mid_line", after=1),
    ),
    "fetch what is not all": Journey(
        ordered("advance", ended),
        (CLAIMED, *FETCHED, "ingest._finish > WorkItem.move: UPDATE messagebatch", RELEASED),
        set_up=fault("missing_line"),
    ),
    "prove, poll, fetch and announce": Journey(
        ordered("advance", unanswered("lost_answer")),
        (
            CLAIMED,
            *(ASKED, LISTED, REMEMBERED, KEPT),
            *PROOF,
            "poll.poll: GET /batches/ID",
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
            "reconcile._decide > WorkItem.reschedule: UPDATE messagebatch",
            RELEASED,
        ),
    ),
    "find nothing again, and send anew": Journey(
        ordered("advance", unanswered("never_lands")),
        (
            CLAIMED,
            *(ASKED, LISTED, KEPT),
            "reconcile._count_full_listing: UPDATE submitattempt",
            NOT_RECEIVED,
            *(SENT_ONCE[0], ASKED, SENT_ONCE[1], KEPT, ASKED, OLDER, KEPT, *SENT_ONCE[3:]),  # others are searched for
            *ACCEPTED,
            RELEASED,
        ),
        set_up=searched_once,
    ),
    "find what was given up": Journey(
        ordered("watch", wished(services.abandon, unanswered("lost_answer"))),
        (
            "late_arrivals.watch_due > AccountStateQuerySet.take_turn: UPDATE accountstate",
            LISTED,
            REMEMBERED,
            *PROOF,
        ),
        set_up=finished_and_never_listed,
    ),
    "wish to cancel": Journey(
        ordered("cancel", running),
        (
            "cancel.cancel > WorkItem.move: UPDATE messagebatch",
            "cancel.cancel > WorkItem.record_intent: UPDATE messagebatch",
            "cancel.cancel > MessageBatch.log_event: INSERT batchevent",
        ),
        repeats=True,
    ),
    "cancel": Journey(
        ordered("advance", wished(services.cancel, running)),
        (CLAIMED, "cancel.perform: POST /batches/ID/cancel", OBSERVED, RELEASED),
    ),
    "wish to delete": Journey(
        ordered("delete_remote", complete),
        (
            "delete.delete_remote > WorkItem.record_intent: UPDATE messagebatch",
            "delete.delete_remote > WorkItem.record_intent: UPDATE messagebatch",
            "delete.delete_remote > MessageBatch.log_event: INSERT batchevent",
        ),
        repeats=True,
    ),
    "delete": Journey(
        ordered("advance", wished(services.delete_remote, complete)),
        (
            CLAIMED,
            "delete.perform > MessageBatch.log_event: INSERT batchevent",
            "delete.perform: DELETE /batches/ID",
            "delete._deleted: COMMIT",
            RELEASED,
        ),
    ),
    "adopt": Journey(
        lambda crew, count: [{"verb": "adopt", "id": crew.claude.add_stranger(3)} for _ in range(count)],
        ("adopt.adopt: GET /batches/ID", "adopt._mirror: COMMIT"),
        repeats=True,
    ),
}
