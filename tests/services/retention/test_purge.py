"""What RETENTION takes away, what it must not touch, and that half of a purge is no other than none or a whole one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_claude_batches import conf, services, tasks
from django_claude_batches.exceptions import InsideTransaction, InvalidTransition
from django_claude_batches.models import (
    AccountState,
    BatchRequest,
    BatchResult,
    MessageBatch,
    ResultProblem,
    State,
    SubmitAttempt,
    UsageRollup,
)
from django_claude_batches.models.large_columns import MESSAGES, PARAMS
from django_claude_batches.schedule import BEAT_SCHEDULE
from django_claude_batches.services.engine import advance_if_due, tick
from django_claude_batches.services.retention.bodies import PurgeCount, PurgeReport
from django_claude_batches.services.retention.purge import INTERVAL, RETRY_INTERVAL, purge_due
from django_claude_batches.testing import ClaudeEmulator
from django_claude_batches.testing.emulator.replies import Reply
from tests.harness.factories import draft, in_state, item, make_due, running

pytestmark = [pytest.mark.django_db, pytest.mark.database]

DAY = timedelta(days=1)
ALL = {"REQUEST_BODIES": 30 * DAY, "RESULT_BODIES": 30 * DAY, "REMOTE_COPIES": 7 * DAY}

Keep = Callable[..., None]


@pytest.fixture
def keep(settings: Any) -> Keep:
    """Set RETENTION."""

    def set_to(**retention: Any) -> None:
        settings.CLAUDE_BATCHES = {"KICK": False, "RETENTION": retention}

    return set_to


def complete(claude: ClaudeEmulator, count: int = 3, *, age: timedelta = 31 * DAY, **columns: Any) -> MessageBatch:
    """A batch that was finished so long ago."""
    batch = running(count)
    claude.finish()
    assert services.advance(batch).state == State.INGESTED
    return aged(batch, age, **columns)


def aged(batch: MessageBatch, age: timedelta, **columns: Any) -> MessageBatch:
    MessageBatch.objects.filter(pk=batch.pk).update(announced_at=timezone.now() - age, **columns)
    batch.refresh_from_db()
    return batch


def stored(count: int) -> MessageBatch:
    """A complete batch of that many requests and results, without a life at Anthropic."""
    batch = draft(count)
    message = {"content": [{"type": "text", "text": "answer"}]}
    BatchResult.objects.bulk_create(
        BatchResult(
            batch=batch, request_id=pk, custom_id=custom_id, result_type="succeeded", message=message, input_tokens=7
        )
        for pk, custom_id in batch.requests.values_list("pk", "custom_id")
    )
    other = in_state(State.INGESTED)
    facts = ("state", "processing_status", "ended_at", "ingested_at", "queued_at", "created_at")
    values = MessageBatch.objects.filter(pk=other.pk).values(*facts).get()
    other.delete()
    return aged(batch, 31 * DAY, anthropic_id=f"msgbatch_of{batch.pk}", succeeded_count=count, **values)


def purged(**options: Any) -> PurgeReport:
    [report] = services.purge(**options)
    assert report.problem == ""
    return report


def full_requests(batch: MessageBatch) -> int:
    return batch.requests.exclude(params_text="").count()


def full_results(batch: MessageBatch) -> int:
    return batch.results.filter(message__isnull=False).count()


def whats(batch: MessageBatch) -> list[str]:
    return list(batch.events.values_list("what", flat=True))


def columns_of(batch: MessageBatch) -> list[Any]:
    kept = [field.name for field in BatchResult._meta.fields if field.name not in {"message", "output", "raw"}]
    return list(batch.results.order_by("pk").values_list(*kept))


class TestByDefault:
    def test_nothing_is_purged(self, claude: ClaudeEmulator) -> None:
        batch = complete(claude, age=4000 * DAY)
        before = list(MessageBatch.objects.values())
        assert (services.purge(), services.purge(dry_run=True), purge_due()) == ([], [], [])
        assert (full_requests(batch), full_results(batch), list(MessageBatch.objects.values())) == (3, 3, before)

    def test_nor_what_is_younger(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(**ALL)
        batch = complete(claude, age=6 * DAY)
        assert purged() == PurgeReport("default")
        assert (full_requests(batch), full_results(batch), batch.delete_requested_at) == (3, 3, None)


class TestRequests:
    def test_their_params_go_and_nothing_else(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(REQUEST_BODIES=30 * DAY)
        batch = complete(claude)
        kept = ("pk", "position", "custom_id", "model", "params_bytes", "content_type", "object_id")
        before = list(batch.requests.order_by("pk").values_list(*kept))
        assert purged().request_bodies == PurgeCount(batches=1, rows=3)
        assert list(batch.requests.order_by("pk").values_list(*kept)) == before
        assert (full_requests(batch), full_results(batch)) == (0, 3)
        batch.refresh_from_db()
        assert batch.request_bodies_purged_at is not None
        assert (batch.result_bodies_purged_at, batch.lease_token, batch.next_action_at) == (None, "", None)
        assert whats(batch)[-1] == "request_bodies_purged"

    def test_what_is_read_of_them_says_so(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(REQUEST_BODIES=30 * DAY)
        batch = complete(claude)
        assert batch.requests.get(position=0).purge_note == ""
        purged()
        request = BatchRequest.objects.get(batch=batch, position=0)
        assert (request.params, request.is_purged) == ({}, True)
        assert request.purge_note.startswith("Purged on ")
        assert str(timezone.localtime().year) in request.purge_note

    def test_they_are_not_written_anew(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(REQUEST_BODIES=30 * DAY)
        batch = complete(claude)
        purged()
        request = batch.requests.get(position=0)
        request.params = item(0)["params"]
        with pytest.raises(InvalidTransition, match="were purged"):
            request.save()
        assert full_requests(batch) == 0

    def test_a_retry_is_refused_before_anything_is_made(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(REQUEST_BODIES=30 * DAY)
        batch = complete(claude)
        BatchResult.objects.filter(batch=batch, request__position=0).update(result_type="errored")
        purged()
        with pytest.raises(InvalidTransition, match=r"request bodies are gone.* Purged on "):
            services.retry(batch)
        assert MessageBatch.objects.count() == 1

    def test_a_retry_that_a_purge_overtakes_leaves_nothing(self, keep: Keep) -> None:
        """The first rows are drafted again while the last ones are emptied."""
        batch = stored(3)
        batch.results.update(result_type="errored")
        batch.requests.filter(position=2).update(params_text="")
        with pytest.raises(InvalidTransition, match="request bodies are gone"):
            services.retry(batch)
        assert MessageBatch.objects.count() == 1

    def test_what_is_missing_may_be_asked_again(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(REQUEST_BODIES=30 * DAY)
        batch = complete(claude, missing_count=1)
        batch.results.filter(request__position=0).delete()
        assert purged().request_bodies == PurgeCount(kept=1)
        assert full_requests(batch) == 3
        assert services.retry(batch).request_count == 1

    def test_given_up_and_lost_ones_by_when_that_was(self, keep: Keep) -> None:
        keep(REQUEST_BODIES=30 * DAY)
        for state, what in ((State.ABANDONED, "abandoned"), (State.LOST, "lost"), (State.LOST, "deleted_at_anthropic")):
            batch = in_state(state)
            event = batch.log_event(what)
            assert purged().request_bodies == PurgeCount()
            type(event).objects.filter(pk=event.pk).update(at=timezone.now() - 31 * DAY)
            assert purged().request_bodies == PurgeCount(batches=1, rows=1)
            assert full_requests(batch) == 0

    def test_a_lost_one_whose_results_are_missing_keeps_them(self, keep: Keep) -> None:
        keep(REQUEST_BODIES=30 * DAY)
        batch = in_state(State.LOST, missing_count=1, drafted_at=timezone.now() - 40 * DAY)
        assert purged().request_bodies == PurgeCount(kept=1)
        assert full_requests(batch) == 1

    def test_one_that_may_turn_up_keeps_them(self, keep: Keep) -> None:
        keep(REQUEST_BODIES=30 * DAY)
        in_state(State.ABANDONED, identified_id="msgbatch_1", drafted_at=timezone.now() - 40 * DAY)
        assert purged().request_bodies == PurgeCount(kept=1)


class TestResults:
    def test_the_bodies_go_and_the_columns_stay(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(RESULT_BODIES=30 * DAY)
        batch = complete(claude)
        batch.results.update(raw=b"{}")
        before, usage = columns_of(batch), list(UsageRollup.objects.values())
        assert purged().result_bodies == PurgeCount(batches=1, rows=3)
        assert (columns_of(batch), list(UsageRollup.objects.values())) == (before, usage)
        gone = {"message__isnull": True, "raw__isnull": True, "output__isnull": True}
        assert batch.results.filter(**gone).count() == 3
        assert (full_requests(batch), batch.stored_count) == (3, 3)
        result = BatchResult.objects.filter(batch=batch).first()
        assert result is not None
        assert (result.text, result.purge_note.startswith("Purged on ")) == ("", True)
        batch.refresh_from_db()
        assert batch.result_bodies_purged_at is not None
        assert (batch.request_bodies_purged_at, whats(batch)[-1]) == (None, "result_bodies_purged")

    def test_what_was_wrong_with_an_answer_goes_and_that_something_was_stays(
        self, claude: ClaudeEmulator, keep: Keep
    ) -> None:
        batch = complete(claude)
        batch.results.filter(custom_id="r-1").update(message=None, output_error="$: 'a secret' is not of type 'object'")
        keep(RESULT_BODIES=30 * DAY)
        services.purge()
        assert dict(batch.results.values_list("custom_id", "output_error")) == {"r-0": None, "r-1": "", "r-2": None}
        assert batch.results.invalid_output().get().custom_id == "r-1"
        assert batch.results.usable().count() == 2

    def test_message_is_null_and_not_the_null_of_json(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(RESULT_BODIES=30 * DAY)
        batch = complete(claude)
        purged()
        assert batch.results.filter(message__isnull=True).count() == 3

    def test_pieces_of_answers_in_problem_lines_go_too(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(RESULT_BODIES=30 * DAY)
        batch = complete(claude)
        ResultProblem.objects.create(batch=batch, number=1, offset=0, sha256="0", reason="cut", excerpt='{"text":')
        assert purged().result_bodies.rows == 4
        assert batch.problems.values_list("excerpt", "reason").get() == ("", "")

    def test_the_kind_of_a_failure_stays_and_its_words_go(self, keep: Keep) -> None:
        keep(RESULT_BODIES=30 * DAY)
        batch = stored(2)
        failure = {"message": None, "error_type": "api_error", "error_message": "why"}
        batch.results.filter(request__position=0).update(result_type="errored", **failure)
        assert purged().result_bodies == PurgeCount(batches=1, rows=2)
        failed = BatchResult.objects.get(batch=batch, result_type="errored")
        assert (failed.error_type, failed.error_message) == ("api_error", "")
        assert failed.purge_note.startswith("Purged on ")

    def test_what_a_receiver_did_not_take_stays(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(**ALL)
        batch = complete(claude, last_error="reviews.store raised KeyError: 'x'")
        report = purged()
        kept = PurgeCount(kept=1)
        assert (report.request_bodies, report.result_bodies, report.remote_copies) == (kept, kept, kept)
        assert (full_requests(batch), full_results(batch)) == (3, 3)

    @pytest.mark.database
    def test_that_results_are_missing_keeps_none_of_the_others(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(RESULT_BODIES=30 * DAY)
        missing = {"missing_count": 1, "missing_reason": "2 results came for 3 requests"}
        batch = complete(claude, last_error=missing["missing_reason"], **missing)
        assert purged().result_bodies == PurgeCount(batches=1, rows=3)
        assert full_results(batch) == 0
        raised = complete(claude, last_error=f"{missing['missing_reason']}; store raised KeyError: 'x'", **missing)
        assert purged().result_bodies == PurgeCount(kept=1)
        assert full_results(raised) == 3

    def test_receivers_are_not_sent_empty_answers(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(RESULT_BODIES=30 * DAY)
        batch = complete(claude)
        purged()
        with pytest.raises(InvalidTransition, match=r"answers are gone\. Purged on "):
            services.announce_again(batch)
        assert MessageBatch.objects.get(pk=batch.pk).announced_at is not None

    def test_fetching_again_does_not_bring_them_back(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(RESULT_BODIES=30 * DAY)
        batch = complete(claude)
        purged()
        again = {"state": State.ENDED, "ingested_at": None, "announced_at": None, "next_action_at": timezone.now()}
        MessageBatch.objects.filter(pk=batch.pk).update(**again)
        services.advance(batch)
        assert (batch.state, batch.stored_count, full_results(batch)) == (State.INGESTED, 3, 0)
        assert batch.result_bodies_purged_at is not None

    def test_adopted_ones_have_results_only(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(**ALL)
        batch = services.adopt(claude.add_stranger(2))
        claude.finish()
        aged(services.advance(batch), 31 * DAY)
        assert batch.stored_count == 2
        report = purged()
        assert (report.request_bodies, report.result_bodies.batches, report.remote_copies) == (
            PurgeCount(),
            1,
            PurgeCount(),
        )
        batch.refresh_from_db()
        assert (batch.request_bodies_purged_at, batch.delete_requested_at, full_results(batch)) == (None, None, 0)

    def test_lost_ones(self, keep: Keep) -> None:
        keep(RESULT_BODIES=30 * DAY)
        batch = stored(2)
        lost = {"state": State.LOST, "ingested_at": None, "announced_at": None, "missing_count": 1}
        MessageBatch.objects.filter(pk=batch.pk).update(drafted_at=timezone.now() - 31 * DAY, **lost)
        assert purged().result_bodies == PurgeCount(batches=1, rows=2)


class TestWhatIsNotFinished:
    @pytest.mark.parametrize("state", sorted(set(State) - {State.INGESTED, State.LOST, State.ABANDONED}))
    def test_nothing_of_it_goes(self, keep: Keep, state: State) -> None:
        keep(**dict.fromkeys(ALL, timedelta(seconds=1)))
        batch = in_state(state, drafted_at=timezone.now() - 400 * DAY)
        assert purged() == PurgeReport("default")
        assert full_requests(batch) == 1

    def test_nor_before_it_was_announced(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(**dict.fromkeys(ALL, timedelta(seconds=1)))
        batch = complete(claude)
        now = timezone.now()
        MessageBatch.objects.update(announced_at=None, ingested_at=now - 400 * DAY, next_action_at=now)
        assert purged() == PurgeReport("default")
        assert (full_requests(batch), full_results(batch)) == (3, 3)


class TestCopies:
    def test_they_are_asked_to_be_deleted_and_a_worker_does_it(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(REMOTE_COPIES=7 * DAY)
        batch = complete(claude, age=8 * DAY)
        calls = len(claude.requests)
        assert purged().remote_copies == PurgeCount(batches=1)
        assert len(claude.requests) == calls
        assert whats(batch)[-2:] == ["remote_copy_expired", "delete_requested"]
        tick(advance_if_due)
        batch.refresh_from_db()
        assert batch.remote_deleted_at is not None
        assert (full_requests(batch), full_results(batch)) == (3, 3)
        assert purged().remote_copies == PurgeCount()

    def test_not_with_something_missing(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(REMOTE_COPIES=7 * DAY)
        batch = complete(claude, missing_count=1)
        assert purged().remote_copies == PurgeCount(kept=1)
        batch.refresh_from_db()
        assert batch.delete_requested_at is None

    def test_not_after_29_days(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(REMOTE_COPIES=7 * DAY)
        complete(claude, created_at=timezone.now() - 29 * DAY)
        assert purged().remote_copies == PurgeCount()

    def test_not_where_a_search_begins(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(REMOTE_COPIES=7 * DAY)
        batch = complete(claude)
        in_state(State.UNCERTAIN)
        SubmitAttempt.objects.filter(batch__state=State.UNCERTAIN).update(baseline_id=batch.anthropic_id)
        assert purged(dry_run=True).remote_copies == PurgeCount(kept=1)
        assert purged().remote_copies == PurgeCount(kept=1)
        batch.refresh_from_db()
        assert (batch.delete_requested_at, batch.last_error) == (None, "")

    def test_not_of_an_account_that_left_the_settings(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(REQUEST_BODIES=30 * DAY, REMOTE_COPIES=7 * DAY)
        batch = complete(claude, account="research")
        AccountState.objects.create(alias="research")
        reports = {report.account: report for report in services.purge()}
        assert reports["research"].request_bodies == PurgeCount(batches=1, rows=3)
        assert reports["research"].remote_copies == PurgeCount()
        batch.refresh_from_db()
        assert batch.delete_requested_at is None


class TestCopyOfTheDatabase:
    def test_nothing_goes(self, claude: ClaudeEmulator, settings: Any) -> None:
        batch = complete(claude)
        AccountState.objects.update_or_create(alias="default", defaults={"installation": "production"})
        settings.CLAUDE_BATCHES = {"KICK": False, "INSTALLATION": "staging", "RETENTION": ALL}
        [report] = services.purge()
        assert "it may be a copy" in report.problem
        batch.refresh_from_db()
        assert (full_requests(batch), full_results(batch), batch.delete_requested_at) == (3, 3, None)
        purge_due()
        hour = AccountState.objects.get(alias="default").next_purge_at - timezone.now()
        assert hour < RETRY_INTERVAL + timedelta(minutes=1)


class TestInterrupted:
    @pytest.mark.slow
    def test_what_is_left_goes_with_the_next_purge(self, keep: Keep) -> None:
        keep(RESULT_BODIES=30 * DAY, REQUEST_BODIES=30 * DAY)
        batch = stored(2500)

        def stop(report: PurgeReport) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            services.purge(progress=stop)
        batch.refresh_from_db()
        first = 2500 - full_requests(batch)
        assert 0 < first <= 1000
        assert (batch.request_bodies_purged_at, batch.lease_token, full_results(batch)) == (None, "", 2500)
        report = purged()
        assert report.request_bodies == PurgeCount(batches=1, rows=2500 - first)
        assert report.result_bodies == PurgeCount(batches=1, rows=2500)
        batch.refresh_from_db()
        assert (full_requests(batch), full_results(batch)) == (0, 0)
        assert batch.request_bodies_purged_at is not None
        assert purged() == PurgeReport("default")
        assert whats(batch).count("request_bodies_purged") == 1

    @pytest.mark.slow
    def test_half_a_purge_is_refused_like_a_whole_one(self, keep: Keep) -> None:
        keep(REQUEST_BODIES=30 * DAY, RESULT_BODIES=30 * DAY)
        batch = stored(1500)
        batch.results.update(result_type="succeeded", stop_reason="max_tokens")
        for _ in range(3):
            report = purged(budget=timedelta(0))
            assert (report.is_complete, report.request_bodies.batches) == (False, 0)
        seen: list[int] = []

        def stop(report: PurgeReport) -> None:
            seen.append(report.result_bodies.rows)
            if report.result_bodies.rows:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            services.purge(progress=stop)
        assert 0 < full_results(batch) < 1500
        batch.refresh_from_db()
        assert batch.result_bodies_purged_at is None
        with pytest.raises(InvalidTransition, match="answers are gone"):
            services.announce_again(batch)
        with pytest.raises(InvalidTransition, match="request bodies are gone"):
            services.retry(batch, outcomes=["truncated"])

    def test_each_transaction_is_short(self, keep: Keep, claude: ClaudeEmulator) -> None:
        """8 MB: a batch of documents is emptied a few at a time."""
        keep(REQUEST_BODIES=30 * DAY)
        batch = MessageBatch.objects.create_draft(item(number, system="x" * 3_000_000) for number in range(5))
        spans = list(PARAMS.key_ranges(batch.pk, using="default"))
        assert [batch.requests.filter(pk__range=span).count() for span in spans] == [2, 2, 1]

    def test_results_are_weighed_too(self) -> None:
        text = "x" * 1_000_000
        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: Reply(text)) as claude:
            batch = running(12)
            claude.finish()
            services.advance(batch)
        assert batch.stored_count == 12
        spans = list(MESSAGES.key_ranges(batch.pk, using="default"))
        counts = [batch.results.filter(pk__range=span).count() for span in spans]
        assert sum(counts) == 12
        if connection.vendor != "postgresql":  # there they are compressed
            assert len(counts) > 1

    def test_other_batches_between_its_rows_are_not_touched(self, keep: Keep) -> None:
        keep(REQUEST_BODIES=30 * DAY)
        old, young = stored(3), aged(stored(3), DAY)
        BatchResult.objects.filter(batch__in=[old, young]).delete()
        last = old.requests.order_by("-pk").values_list("pk", flat=True)[0]
        young.requests.filter(position=0).update(id=last + 5000)
        old.requests.filter(position=2).update(id=last + 9000)
        purged()
        assert (full_requests(old), full_requests(young)) == (0, 3)

    def test_one_on_which_somebody_works_is_left(self, keep: Keep) -> None:
        keep(REQUEST_BODIES=30 * DAY)
        batch = stored(3)
        soon = timezone.now() + timedelta(minutes=5)
        MessageBatch.objects.filter(pk=batch.pk).update(lease_token="theirs", lease_until=soon)
        report = purged()
        assert (report.leased, report.request_bodies, full_requests(batch)) == (1, PurgeCount(), 3)
        make_due(batch)  # a killed process's lease runs out
        assert purged().request_bodies == PurgeCount(batches=1, rows=3)

    @pytest.mark.slow
    def test_a_late_process_takes_nothing_more(self, keep: Keep) -> None:
        """Another one has the batch since the last transaction."""
        keep(REQUEST_BODIES=30 * DAY)
        batch = stored(2500)

        def lose_it(report: PurgeReport) -> None:
            MessageBatch.objects.filter(pk=batch.pk).update(lease_token="theirs")

        report = purged(progress=lose_it)
        assert (report.request_bodies.batches, full_requests(batch)) == (0, 2500 - report.request_bodies.rows)
        assert full_requests(batch) > 0
        batch.refresh_from_db()
        assert (batch.lease_token, batch.request_bodies_purged_at) == ("theirs", None)


class TestDryRun:
    def test_it_counts_and_changes_nothing(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(**ALL)
        complete(claude), complete(claude, 2, missing_count=1)
        before = [list(model.objects.values()) for model in (MessageBatch, BatchRequest, BatchResult)]
        report = purged(dry_run=True)
        assert [list(model.objects.values()) for model in (MessageBatch, BatchRequest, BatchResult)] == before
        assert report.request_bodies == PurgeCount(batches=1, rows=3, kept=1)
        assert report.result_bodies == PurgeCount(batches=2, rows=5)
        assert report.remote_copies == PurgeCount(batches=1, kept=1)
        did = purged()
        assert did == report


class TestOnceADay:
    def due_in(self) -> timedelta:
        return AccountState.objects.get(alias="default").next_purge_at - timezone.now()

    def test_when_it_is_due_stands_in_a_row(self, claude: ClaudeEmulator, keep: Keep) -> None:
        keep(REQUEST_BODIES=30 * DAY)
        complete(claude)
        tasks.purge()
        assert MessageBatch.objects.get().request_bodies_purged_at is not None
        assert timedelta(0) < INTERVAL - self.due_in() < timedelta(minutes=1)
        batch = complete(claude)
        assert purge_due() == []
        assert full_requests(batch) == 3
        AccountState.objects.update(next_purge_at=timezone.now() - timedelta(minutes=1))
        [report] = purge_due()
        assert report.request_bodies == PurgeCount(batches=1, rows=3)

    def test_a_killed_one_goes_on_in_an_hour(self, keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
        keep(REQUEST_BODIES=30 * DAY)
        stored(3)
        monkeypatch.setattr("django_claude_batches.services.retention.purge.BUDGET", timedelta(0))
        [report] = purge_due()
        assert (report.is_complete, report.request_bodies) == (False, PurgeCount())
        assert timedelta(0) < RETRY_INTERVAL - self.due_in() < timedelta(minutes=1)

    def test_beat_looks_every_hour(self) -> None:
        entry = BEAT_SCHEDULE["django_claude_batches.purge"]
        assert (entry["task"], entry["schedule"]) == (tasks.purge.name, 3600.0)


def test_an_account_that_there_is_not(keep: Keep) -> None:
    keep(REQUEST_BODIES=30 * DAY)
    with pytest.raises(conf.ConfigurationError, match='Unknown account "nobody"'):
        services.purge("nobody")
    assert not AccountState.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_not_inside_a_transaction(keep: Keep) -> None:
    keep(REQUEST_BODIES=30 * DAY)
    for verb in (services.purge, purge_due):
        with transaction.atomic(), pytest.raises(InsideTransaction):
            verb()
