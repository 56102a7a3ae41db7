"""What processes do at a stretch, and what each of that leaves behind: every commit, call and receiver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from django_claude_batches import services
from django_claude_batches.models import AccountState, MessageBatch
from tests.making import draft
from tests.reliability.crashing import AFTER, BEFORE, FIRST_BYTES, HEAD_SENT, SENT
from tests.reliability.crew import Crew, Order

CREATE = ": POST /batches"
CLAIMED = "advancing._work > LeasedQuerySet.claim: UPDATE messagebatch"
RELEASED = "advancing._work > LeasedQuerySet.release: UPDATE messagebatch"
OBSERVED = "synchronization.observe: COMMIT"
SETTLED = "settling._settle: COMMIT"
LISTED = "searching.list_since: GET /batches"
TOLD_SUBMITTED = "announcing.tell: receiver of batch_submitted"
TOLD_UNCERTAIN = "announcing.tell: receiver of submission_uncertain"
TOLD_ENDED = "announcing.tell: receiver of batch_ended"
SENT_ONCE = (
    "submission._intend: COMMIT",
    "submission._take_baseline: GET /batches",
    "submission._take_baseline: UPDATE submitattempt",
    "submission._fence: COMMIT",
    "submission._post: POST /batches",
)
ACCEPTED = ("accepting._write_down: UPDATE submitattempt", "accepting.accepted: COMMIT", TOLD_SUBMITTED)
PROVEN = (
    LISTED,
    "searching.judge: GET /batches/ID/results",
    "accepting.proven: UPDATE submitattempt",
    "accepting.proven > MessageBatch.note: INSERT batchevent",
    "accepting.accepted: COMMIT",
    TOLD_SUBMITTED,
)
FETCHED = (
    "downloading.Download._chunks: GET /batches/ID/results",
    "ingestion._store: COMMIT",
    "ingestion._store: COMMIT",
)
ANNOUNCED = (
    "ingestion._close: COMMIT",
    "announcing.announce > LeasedQuerySet.renew: UPDATE messagebatch",
    "announcing.tell: receiver of results_ingested",
    "announcing.tell: COMMIT",  # the receiver's own
    "announcing.announce > Machine.move: UPDATE messagebatch",
    "announcing.announce > MessageBatch.note: INSERT batchevent",
)


@dataclass(frozen=True)
class Point:
    """Where in an effect, in which of those with this name, and what was left behind just before."""

    name: str
    occurrence: int
    past: str = ""


@dataclass(frozen=True)
class Journey:
    """An order. `prepare` leads that many batches to where it begins; `set_up` one of them, just before.

    `repeats`: somebody who got no answer orders it again.
    """

    prepare: Callable[[Crew, int], list[Order]]
    effects: tuple[str, ...]
    set_up: Callable[[Crew, Order], object] = lambda crew, order: None
    repeats: bool = False

    @property
    def points(self) -> Iterator[Point]:
        seen: Counter[str] = Counter()
        for past, effect in pairwise(("", *self.effects)):
            seen[effect] += 1
            for where in places_in(effect):
                yield Point(f"{where} {effect}", seen[effect], past)


def new_points(before: Iterable[Journey], journey: Journey) -> list[Point]:
    """Give the points that no journey before it has: where the same was left behind, and the same is under way."""
    known = {(point.name, point.past) for other in before for point in other.points}
    return [point for point in journey.points if (point.name, point.past) not in known]


def kind_of(point: Point) -> str:
    """Name the kind of what happens at a point, as the table of the trials does."""
    effect = point.name.rpartition(": ")[2]
    if effect == "COMMIT":
        return "each commit"
    if "/batches" in effect:
        return "each call to Anthropic"
    return "each receiver" if effect.startswith("receiver") else "each statement that commits itself"


def places_in(effect: str) -> tuple[str, ...]:
    if effect.endswith(CREATE):
        return BEFORE, HEAD_SENT, SENT, AFTER
    if effect.endswith("/results"):
        return BEFORE, SENT, AFTER, FIRST_BYTES
    if "/batches" in effect:
        return BEFORE, SENT, AFTER
    return BEFORE, AFTER


def drafts(crew: Crew, count: int) -> list[MessageBatch]:
    return [draft() for _ in range(count)]


def queued(crew: Crew, count: int) -> list[MessageBatch]:
    return [services.submit(batch) for batch in drafts(crew, count)]


def running(crew: Crew, count: int) -> list[MessageBatch]:
    batches = queued(crew, count)
    crew.tick()
    return batches


def ended(crew: Crew, count: int) -> list[MessageBatch]:
    batches = running(crew, count)
    crew.claude.finish()
    crew.site.let_time_come()
    crew.do("poll")
    return batches


def complete(crew: Crew, count: int) -> list[MessageBatch]:
    batches = ended(crew, count)
    crew.tick()
    return batches


def unanswered(fault: str) -> Callable[[Crew, int], list[MessageBatch]]:
    """Queue, and send with a fault that loses the answer."""

    def batches(crew: Crew, count: int) -> list[MessageBatch]:
        batches = queued(crew, count)
        crew.claude.fault(fault, times=count)
        crew.tick()
        return batches

    return batches


def killed_at(point: str) -> Callable[[Crew, int], list[MessageBatch]]:
    """Queue, and have the sender die there."""

    def batches(crew: Crew, count: int) -> list[MessageBatch]:
        batches = queued(crew, count)
        for batch in batches:
            crew.points.arm(point)
            assert crew.status_of("advance", pk=batch.pk) < 0, f"{point} was not reached"
        return batches

    return batches


def wished(
    wish: Callable[[MessageBatch], MessageBatch], to: Callable[[Crew, int], list[MessageBatch]]
) -> Callable[[Crew, int], list[MessageBatch]]:
    return lambda crew, count: [wish(batch) for batch in to(crew, count)]


def ordered(verb: str, to: Callable[[Crew, int], list[MessageBatch]]) -> Callable[[Crew, int], list[Order]]:
    return lambda crew, count: [{"verb": verb, "pk": batch.pk} for batch in to(crew, count)]


def fault(name: str, **options: object) -> Callable[[Crew, Order], None]:
    return lambda crew, order: crew.claude.fault(name, **options)


def refused_key(crew: Crew, order: Order) -> None:
    services.resume("default")
    crew.claude.fault("key_refused", on="create")


def finished(crew: Crew, order: Order) -> None:
    crew.finish(order["pk"])


def finished_for_the_first_tick(crew: Crew, order: Order) -> None:
    finished(crew, order)
    AccountState.objects.all().delete()


def searched_once(crew: Crew, order: Order) -> None:
    crew.site.let_the_quiet_period_pass()
    crew.do(**order)
    crew.let_its_time_come(order)


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
        (CLAIMED, *SENT_ONCE, SETTLED, "pausing.pause: UPDATE accountstate", RELEASED),
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
            "advancing.tick: UPDATE accountstate",
            "synchronization.poll_account > LeasedQuerySet.claim: UPDATE accountstate",
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
            "synchronization.poll > Machine.put_off: UPDATE messagebatch",
            RELEASED,
        ),
        set_up=fault("not_found", on="retrieve"),
    ),
    "fetch and announce": Journey(ordered("advance", ended), (CLAIMED, *FETCHED, *ANNOUNCED, RELEASED)),
    "fetch what breaks off": Journey(
        ordered("advance", ended),
        (CLAIMED, *FETCHED[:2], "ingestion.ingest > Machine.put_off: UPDATE messagebatch", RELEASED),
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
            *PROVEN,
            "synchronization.poll: GET /batches/ID",
            OBSERVED,
            TOLD_ENDED,
            *FETCHED,
            *ANNOUNCED,
            RELEASED,
        ),
        set_up=finished,
    ),
    "find nothing": Journey(
        ordered("advance", unanswered("never_lands")),
        (
            CLAIMED,
            LISTED,
            "reconciliation._nothing_found: UPDATE submitattempt",
            "reconciliation._nothing_found > Machine.put_off: UPDATE messagebatch",
            RELEASED,
        ),
    ),
    "find nothing again, and send anew": Journey(
        ordered("advance", unanswered("never_lands")),
        (
            CLAIMED,
            LISTED,
            "reconciliation._nothing_found: UPDATE submitattempt",
            SETTLED,
            *SENT_ONCE,
            *ACCEPTED,
            RELEASED,
        ),
        set_up=searched_once,
    ),
    "find what was given up": Journey(
        ordered("poll", wished(services.give_up, unanswered("lost_answer"))),
        ("advancing.tick: UPDATE accountstate", "watching._its_time: UPDATE accountstate", *PROVEN),
        set_up=finished,
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
