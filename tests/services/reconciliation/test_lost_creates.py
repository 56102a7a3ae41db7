"""A create call without an answer, and a server of which nothing is believed: counts, listings, clocks.

Time is the test's, for us and for the server. What was paid is asked of the emulator.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DataError, connection

from django_claude_batches import services
from django_claude_batches.client import BatchesClient
from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models import AccountState, MessageBatch, OpenListing, State
from django_claude_batches.services.engine import advance_if_due, tick
from django_claude_batches.services.reconciliation.late_arrivals import watch_due
from django_claude_batches.signals import duplicate_detected
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, item, running
from tests.harness.relay import Exchange, Relay, counting, listing, lose_answer, lose_request, refuse, rewrite
from tests.harness.selections import slow_but
from tests.reliability.protocol.clock import Clock
from tests.reliability.protocol.network import cut_at
from tests.reliability.protocol.processes import Crash

pytestmark = pytest.mark.django_db

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


class World:
    """A server behind a relay, and the ticks of a project."""

    def __init__(self, claude: ClaudeEmulator, clock: Clock, relay: Relay) -> None:
        self.claude, self.clock, self.relay = claude, clock, relay

    def lost(self, rule: Callable[[Exchange], None] = lose_answer, count: int = 3, **options: Any) -> MessageBatch:
        self.relay.on("POST", "/batches", rule, times=1)
        batch = services.advance(services.submit(draft(count, **options)))
        assert batch.state == State.UNCERTAIN
        return batch

    def older(self) -> str:
        """A batch from before, which is the baseline of what comes."""
        older = str(running(1).anthropic_id)
        self.pass_time(2 * MINUTE)
        return older

    def pass_time(self, by: timedelta, *, step: timedelta = 10 * MINUTE) -> None:
        over = self.clock.now + by
        while self.clock.now < over:
            passed = min(step, over - self.clock.now)
            self.claude.pass_time(passed.total_seconds())
            self.clock.pass_time(passed)
            tick(advance_if_due)
            watch_due()

    def paid(self, count: int = 3) -> int:
        """How many batches of ours were made: those of as many requests, by their tags."""
        return sum(len(batch.custom_ids) == count and "_" in batch.custom_ids[0] for batch in self.claude.batches)


@pytest.fixture
def world(claude: ClaudeEmulator) -> Iterator[World]:
    clock = Clock(claude.now())
    with Relay(claude.url) as relay, clock.ruling(lambda seconds: clock.pass_time(timedelta(seconds=seconds))):
        yield World(claude, clock, relay)


def ended_once(world: World, batch: MessageBatch) -> None:
    batch.refresh_from_db()
    assert (world.paid(), batch.state) == (1, State.INGESTED), batch.last_error


def listed_once_without_it(world: World) -> tuple[MessageBatch, Callable[[Exchange], None]]:
    """Lose a create call's answer, and let one listing that counts lack its batch; return the batch and that rule."""
    world.older()
    batch = world.lost()
    ours = world.claude.batches[1].id
    absent = listing(lambda data: [each for each in data if each["id"] != ours])
    world.relay.on("GET", "/batches", absent)
    while not batch.attempts.get().listings_made:
        world.pass_time(5 * MINUTE)
    return batch, absent


@contextmanager
def dies_after_listing(world: World) -> Iterator[None]:
    """Let the process die that hears the next listing, before it keeps anything of it."""
    heard: list[int] = []

    def hear(exchange: Exchange) -> None:
        exchange.reply = exchange.forward()
        heard.append(1)

    def die(execute: Any, *arguments: Any) -> Any:
        if heard:
            raise Crash
        return execute(*arguments)

    world.relay.rules[:0] = [["GET", "/batches", hear, 1]]
    with connection.execute_wrapper(die), suppress(Crash):
        yield


FALLING = {"processing": 1, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
COUNTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "processing falls, and the others stay 0": lambda counts: FALLING,
    "one too many": lambda counts: {**counts, "processing": 4},
    "null": lambda counts: None,
}


class TestCounts:
    """They exclude nothing, neither while it runs nor when it has ended."""

    @pytest.mark.slow
    @pytest.mark.parametrize("counts", slow_but(1, COUNTS))
    def test_counts_that_do_not_add_up(self, world: World, counts: str) -> None:
        batch = world.lost()
        world.relay.on("GET", "/batches", counting(COUNTS[counts]))
        world.relay.on("GET", world.claude.batches[0].id, counting(COUNTS[counts]))
        world.pass_time(2 * HOUR)
        assert world.paid() == 1
        world.claude.finish()
        world.pass_time(HOUR / 2)
        assert world.paid() == 1
        batch.refresh_from_db()
        assert batch.anthropic_id == world.claude.batches[0].id

    @pytest.mark.slow
    def test_counts_that_are_wrong_for_a_moment(self, world: World) -> None:
        batch = world.lost()
        world.pass_time(49 * MINUTE)
        world.relay.on("GET", "/batches", counting(COUNTS["one too many"]), times=3)
        world.pass_time(HOUR)
        world.claude.finish()
        world.pass_time(HOUR)
        ended_once(world, batch)

    def test_a_person_identifies_it_all_the_same(self, world: World) -> None:
        batch = services.abandon(world.lost())
        world.claude.finish()
        world.relay.on("GET", world.claude.batches[0].id, counting(COUNTS["one too many"]))
        services.adopt(world.claude.batches[0].id, for_batch=batch)
        assert batch.anthropic_id == world.claude.batches[0].id

    @pytest.mark.slow
    def test_the_watch_finds_it_too(self, world: World) -> None:
        told: list[MessageBatch] = []
        duplicate_detected.connect(hear := lambda batch, **kwargs: told.append(batch))
        batch = world.lost(lose_request)
        world.pass_time(90 * MINUTE)
        batch.refresh_from_db()
        assert batch.state == State.IN_PROGRESS
        tag = batch.attempts.first().tag
        client = BatchesClient(api_key=world.claude.api_key, base_url=world.claude.url)
        late = client.create([{**item(number), "custom_id": f"{tag}_r-{number}"} for number in range(3)])
        client.close()
        world.claude.finish(late["id"])
        world.relay.on("GET", "/batches", counting(COUNTS["one too many"]))
        world.pass_time(HOUR / 2)
        duplicate_detected.disconnect(hear)
        assert told == [batch]


def test_what_goes_wrong_with_one_account_ends_no_other_s_watch(world: World) -> None:
    batch = services.abandon(world.lost())
    world.claude.finish()
    AccountState.objects.create(alias="a")

    def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "submitattempt" in sql and "a" in params:
            raise DataError("a value that nobody foresaw")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(fail):
        assert watch_due() == 1
    ended_soon = MessageBatch.objects.get(pk=batch.pk)
    assert ended_soon.anthropic_id == world.claude.batches[0].id


class TestCandidates:
    """What was seen once is not forgotten."""

    @pytest.mark.slow
    @pytest.mark.parametrize("after", slow_but(1, [45 * MINUTE, 90 * MINUTE, 5 * HOUR]))
    def test_one_that_the_listing_lacks_later(self, world: World, after: timedelta) -> None:
        world.older()
        batch = world.lost()
        ours = world.claude.batches[1].id
        world.pass_time(after)
        world.relay.on("GET", "/batches", listing(lambda data: [each for each in data if each["id"] != ours]))
        world.pass_time(3 * HOUR)
        assert world.paid() == 1
        world.claude.finish()
        world.pass_time(HOUR)
        ended_once(world, batch)

    @pytest.mark.slow
    def test_one_empty_listing(self, world: World) -> None:
        world.older()
        batch = world.lost()
        world.pass_time(90 * MINUTE)
        world.relay.on("GET", "/batches", listing(lambda data: []), times=8)
        world.pass_time(HOUR)
        world.claude.finish()
        world.pass_time(HOUR)
        ended_once(world, batch)

    @pytest.mark.slow
    @pytest.mark.parametrize("has_older", slow_but(1, [False, True]))
    def test_one_that_somebody_deletes_is_held_for_a_person(self, world: World, has_older: bool) -> None:
        if has_older:
            world.older()
        batch = deleted_unread(world)
        assert (world.paid(), batch.state, batch.attempts.get().outcome) == (1, State.HELD, "undecided")
        assert "may have been billed" in batch.explanation
        assert "may have been billed" in batch.last_error
        world.pass_time(5 * HOUR)
        batch.refresh_from_db()
        assert batch.state == State.HELD, "it does not go back by itself"

    @pytest.mark.slow
    def test_what_may_have_been_billed_is_sent_again_only_by_a_person_who_knows(self, world: World) -> None:
        batch = deleted_unread(world)
        with pytest.raises(InvalidTransition, match="may have been billed already"):
            services.submit(batch)
        services.advance(services.submit(batch, allow_duplicate=True, by=None))
        assert (batch.state, world.paid()) == (State.IN_PROGRESS, 2)
        assert not batch.may_have_been_billed
        world.claude.finish()
        world.pass_time(HOUR / 2)
        batch.refresh_from_db()
        assert batch.state == State.INGESTED

    @pytest.mark.slow
    def test_an_adopted_one_is_judged_by_its_rows(self, world: World) -> None:
        """Somebody adopted it, its results were fetched, and then it was deleted at Anthropic."""
        batch = world.lost()
        adopted = services.adopt(world.claude.batches[0].id)
        world.claude.finish()
        services.advance(adopted)
        assert adopted.state == State.INGESTED
        delete_elsewhere(world, str(adopted.anthropic_id))
        world.pass_time(HOUR)
        batch.refresh_from_db()
        assert batch.anthropic_id == world.claude.batches[0].id
        assert world.paid() == 1

    def test_we_delete_none_ourselves(self, world: World) -> None:
        batch = world.lost()
        adopted = services.adopt(world.claude.batches[0].id)
        world.claude.finish()
        services.abandon(batch)
        services.advance(services.delete_remote(adopted))
        assert not world.claude.batches[0].deleted
        assert "search for a lost batch" in adopted.last_error


def deleted_unread(world: World) -> MessageBatch:
    """One that was listed while it ran, ended, and was deleted before anybody read its results."""
    batch = world.lost()
    world.pass_time(30 * MINUTE)
    world.claude.finish(world.claude.batches[-1].id)
    delete_elsewhere(world, world.claude.batches[-1].id)
    world.pass_time(2 * HOUR)
    batch.refresh_from_db()
    return batch


def delete_elsewhere(world: World, remote_id: str) -> None:
    client = BatchesClient(api_key=world.claude.api_key, base_url=world.claude.url)
    client.delete(remote_id)
    client.close()


class TestListings:
    """One that lacks what is there proves nothing."""

    @pytest.mark.slow
    @pytest.mark.parametrize("kept", slow_but(1, [0, 1]))
    def test_beside_single_calls_that_work(self, world: World, kept: int) -> None:
        first = world.older()
        world.pass_time(HOUR)
        world.older()
        world.relay.on(
            "GET", "/batches", listing(lambda data: [each for each in data if kept and each["id"] == first]), times=0
        )
        batch = world.lost()
        world.relay.rules[-2][3] = 1_000_000  # from now
        world.pass_time(5 * HOUR)
        assert world.paid() == 1
        world.relay.rules.clear()
        world.claude.finish()
        world.pass_time(HOUR)
        ended_once(world, batch)

    @pytest.mark.slow
    def test_one_that_breaks_off_has_shown_its_first_pages(self, world: World) -> None:
        """One full listing lacks it, the next one shows it and breaks off, and the one after that lacks it again."""
        listed_once_without_it(world)
        first_of_two = rewrite(lambda body: json.dumps(json.loads(body) | {"has_more": True}).encode())
        world.relay.rules[:0] = [["GET", "/batches", first_of_two, 1], ["GET", "/batches", refuse(500), 3]]
        world.pass_time(3 * HOUR)
        assert world.paid() == 1

    @pytest.mark.slow
    @pytest.mark.parametrize("loss", slow_but(1, ["the answer", "its end", "the process"]))
    def test_one_that_shows_it_and_is_not_heard(self, world: World, loss: str) -> None:
        """One full listing lacks it, the answer of the next one is lost, and the one after that lacks it again."""
        batch, absent = listed_once_without_it(world)
        unheard = {
            "the answer": [["GET", "/batches", lose_answer, 1]],
            "its end": [["GET", "/batches", cut_at(0.9), 1]],
        }
        world.relay.rules[:] = [*unheard.get(loss, []), ["GET", "/batches", absent, 1]]
        with dies_after_listing(world) if loss == "the process" else nullcontext():
            world.pass_time(11 * MINUTE)
        world.pass_time(11 * MINUTE)
        world.claude.finish()
        world.pass_time(HOUR)
        ended_once(world, batch)

    @pytest.mark.slow
    def test_a_process_that_died_listing_delays_what_is_truly_lost(self, world: World) -> None:
        batch = world.lost(lose_request)
        with dies_after_listing(world):
            world.pass_time(11 * MINUTE)
        world.pass_time(3 * HOUR)
        assert (world.paid(), OpenListing.objects.count()) == (1, 0)
        assert batch.attempts.count() == 2

    @pytest.mark.slow
    def test_one_that_always_fails_holds_it_after_two_days(self, world: World) -> None:
        batch = world.lost()
        world.relay.on("GET", "/batches", refuse(400))
        world.pass_time(50 * HOUR, step=HOUR)
        batch.refresh_from_db()
        assert (world.paid(), batch.state, batch.may_have_been_billed) == (1, State.HELD, True)
        assert "no listing within 48 hours was complete" in batch.last_error

    @pytest.mark.slow
    def test_one_that_begins_where_nothing_is_any_more(self, world: World) -> None:
        """Somebody deleted the batch at which searches began: an unknown one looks like the end of the list."""
        world.older()
        world.lost(lose_request)
        AccountState.objects.update(search_after_id="msgbatch_01gone", search_after_at=world.clock.now + 24 * HOUR)
        end = json.dumps({"data": [], "has_more": False, "first_id": None, "last_id": None}).encode()

        def rule(exchange: Exchange) -> None:
            status, headers, body = exchange.forward()
            exchange.reply = (200, headers, end) if "msgbatch_01gone" in exchange.path else (status, headers, body)

        world.relay.on("GET", "/batches", rule)
        world.pass_time(2 * HOUR)
        assert world.paid() == 1

    @pytest.mark.slow
    def test_without_end_it_is_held_after_two_days(self, world: World) -> None:
        world.older()
        batch = world.lost(lose_request)
        world.relay.on("GET", "/batches", listing(lambda data: []))
        world.pass_time(49 * HOUR, step=HOUR)
        batch.refresh_from_db()
        assert (batch.state, batch.attempts.get().outcome, world.paid()) == (State.HELD, "undecided", 0)
        assert "48 hours" in batch.explanation

    def test_a_server_that_names_no_workspace_and_had_nothing_before(self, world: World) -> None:
        world.relay.on("GET", "/batches", nameless)
        batch = world.lost(lose_request)
        world.pass_time(2 * HOUR)
        batch.refresh_from_db()
        assert (batch.state, batch.attempts.get().outcome) == (State.HELD, "undecided")
        assert "names no Workspace" in batch.explanation


def nameless(exchange: Exchange) -> None:
    status, headers, body = exchange.forward()
    kept = {name: value for name, value in headers.items() if name.lower() != "anthropic-workspace-id"}
    exchange.reply = (status, kept, body)


class TestClocks:
    """Those of the server's nodes differ."""

    @pytest.mark.slow
    @pytest.mark.parametrize("behind", slow_but(1, [timedelta(seconds=1), 14 * MINUTE]))
    @pytest.mark.parametrize("is_listed_behind", slow_but(1, [False, True]))
    def test_a_node_behind_the_one_that_made_the_baseline(
        self, world: World, behind: timedelta, is_listed_behind: bool
    ) -> None:
        world.older()
        older = str(running(1).anthropic_id)

        def shifted(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
            baseline = datetime.fromisoformat(next(each["created_at"] for each in data if each["id"] == older))
            for each in data:
                if each["id"] == world.claude.batches[-1].id != older:
                    each["created_at"] = (baseline - behind).isoformat()
            return sorted(data, key=lambda each: each["created_at"], reverse=True) if is_listed_behind else data

        batch = world.lost()
        world.relay.on("GET", "/batches", listing(shifted))
        world.pass_time(2 * HOUR)
        assert world.paid() == 1
        world.claude.finish()
        world.pass_time(HOUR)
        ended_once(world, batch)

    @pytest.mark.slow
    @pytest.mark.parametrize("date", slow_but(1, ["never", "Thu, 01 Jan 1970 00:00:00 GMT", None]))
    def test_a_date_that_cannot_be(self, world: World, date: str | None) -> None:
        def dated(exchange: Exchange) -> None:
            status, headers, body = exchange.forward()
            kept = {name: value for name, value in headers.items() if name.lower() != "date"}
            exchange.reply = (status, kept if date is None else {**kept, "Date": date}, body)

        world.older()
        world.relay.on("GET", "/batches", dated, times=1)
        batch = world.lost()
        world.pass_time(2 * HOUR)
        world.claude.finish()
        world.pass_time(HOUR)
        ended_once(world, batch)


class TestEnds:
    """Every row ends."""

    def test_a_truly_lost_one_is_sent_again_exactly_once(self, world: World) -> None:
        world.older()
        batch = world.lost(lose_request)
        world.pass_time(2 * HOUR)
        world.claude.finish()
        world.pass_time(HOUR)
        ended_once(world, batch)
        assert [attempt.outcome for attempt in batch.attempts.all()] == ["not_received", "accepted"]

    @pytest.mark.slow
    @pytest.mark.parametrize(("every", "size"), slow_but(1, [(10 * MINUTE, 2), (MINUTE, 3), (20 * MINUTE, 30)]))
    def test_beside_strangers_without_end(self, world: World, every: timedelta, size: int) -> None:
        """They start batches all the time, which end after half an hour."""
        world.older()
        received, not_received = world.lost(), world.lost(lose_request)
        strangers: list[str] = []
        for _ in range(4 * HOUR // every):
            strangers.append(world.claude.add_stranger(size))
            if len(strangers) > HOUR / 2 // every:
                world.claude.finish(strangers[-1 - int(HOUR / 2 // every)])
            world.pass_time(every)
        for batch in world.claude.batches:
            if batch.id not in strangers and batch.processing_status == "in_progress":
                world.claude.finish(batch.id)
        world.pass_time(HOUR)
        for batch in (received, not_received):
            batch.refresh_from_db()
            assert batch.state == State.INGESTED, batch.last_error
        assert len(world.claude.batches) - len(strangers) == 3


def test_one_listing_serves_all_that_are_lost(world: World) -> None:
    world.older()
    for _ in range(5):
        world.lost()
    calls = world.relay.calls("GET", "/batches")
    MessageBatch.objects.filter(state=State.UNCERTAIN).update(next_action_at=world.clock.now - MINUTE)
    tick(advance_if_due)
    assert world.relay.calls("GET", "/batches") == calls + 1
