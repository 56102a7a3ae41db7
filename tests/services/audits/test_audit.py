"""The remote list against the rows: what is found, what is not, and that nothing is changed by it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from django_claude_batches import services, tasks
from django_claude_batches.client import BatchesClient
from django_claude_batches.exceptions import InsideTransaction, NotOurs
from django_claude_batches.models import AccountState, BatchEvent, MessageBatch, State, SubmitAttempt
from django_claude_batches.schedule import BEAT_SCHEDULE
from django_claude_batches.services.account_pauses import account_state
from django_claude_batches.services.audits.audit import INTERVAL, audit_due
from django_claude_batches.services.audits.findings import MAX_FINDINGS_PER_KIND, AuditReport, Finding, FindingKind
from django_claude_batches.services.connection import connect
from django_claude_batches.services.listings.listing import listing_pages
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, running
from tests.harness.relay import Exchange, Relay, lose_answer, refuse, rewrite

pytestmark = [pytest.mark.django_db, pytest.mark.database]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def audited(account: str = "default") -> AuditReport:
    [report] = services.audit(account)
    return report


def found() -> list[Finding]:
    report = audited()
    assert (report.problem, report.is_complete) == ("", True)
    return report.findings


def kinds() -> list[FindingKind]:
    return [finding.kind for finding in found()]


def complete(claude: ClaudeEmulator, count: int = 3) -> MessageBatch:
    batch = running(count)
    claude.finish()
    assert services.advance(batch).state == State.INGESTED
    return batch


def age(batch: MessageBatch, by: timedelta, **columns: Any) -> None:
    """Let it have been made so long ago, which here is what the row says."""
    MessageBatch.objects.filter(pk=batch.pk).update(created_at=timezone.now() - by, **columns)
    batch.refresh_from_db()


def delete_there(claude: ClaudeEmulator, batch: MessageBatch) -> None:
    claude.finish()
    client = BatchesClient(api_key=claude.api_key, base_url=claude.url)
    client.delete(str(batch.anthropic_id))
    client.close()


def nothing_listed(exchange: Exchange) -> None:
    """A listing of nothing."""
    page = {"data": [], "has_more": False, "first_id": None, "last_id": None}
    exchange.reply = 200, {"content-type": "application/json"}, json.dumps(page).encode()


def made_at(body: bytes, when: Callable[[Any], datetime]) -> bytes:
    page = json.loads(body)
    for data in page["data"]:
        data["created_at"] = when(data).isoformat()
    return json.dumps(page).encode()


def two_hours_earlier(body: bytes) -> bytes:
    return made_at(body, lambda data: datetime.fromisoformat(data["created_at"]) - 2 * HOUR)


def not_ended_yet(body: bytes) -> bytes:
    page = json.loads(body)
    for data in page["data"]:
        counts = dict.fromkeys(data["request_counts"], 0) | {"processing": 3}
        data |= {"processing_status": "in_progress", "ended_at": None, "request_counts": counts}
    return json.dumps(page).encode()


class TestAllIsWell:
    def test_batches_of_each_age_agree(self, claude: ClaudeEmulator) -> None:
        complete(claude), running(), draft(2)
        report = audited()
        assert (report.listed, report.findings, report.needing, report.is_complete) == (2, [], 0, True)
        state = AccountState.objects.get()
        assert (state.audited_at is not None, state.audit_findings) == (True, 0)

    def test_an_empty_account(self, claude: ClaudeEmulator) -> None:
        assert audited() == AuditReport("default", is_complete=True)

    def test_it_reads_only(self, claude: ClaudeEmulator) -> None:
        claude.add_stranger(2)
        batch = running()
        delete_there(claude, batch)
        age(batch, 2 * HOUR)
        before = list(MessageBatch.objects.values())
        calls = len(claude.requests)
        assert len(found()) == 2
        assert list(MessageBatch.objects.values()) == before
        assert {request.method for request in claude.requests[calls:]} == {"GET"}

    @pytest.mark.django_db(transaction=True)
    def test_not_inside_a_transaction(self) -> None:
        for verb in (services.audit, audit_due):
            with transaction.atomic(), pytest.raises(InsideTransaction):
                verb()


class TestUnknownHere:
    def test_a_batch_that_no_row_is(self, claude: ClaudeEmulator, caplog: pytest.LogCaptureFixture) -> None:
        running()
        stranger = claude.add_stranger(7)
        with caplog.at_level(logging.WARNING):
            [finding] = found()
        assert (finding.kind, finding.account, finding.batch, finding.remote_id) == (
            FindingKind.UNKNOWN_HERE,
            "default",
            None,
            stranger,
        )
        assert "with 7 requests, is no batch here" in finding.words
        assert f"claude_batches adopt {stranger} --account default" in finding.remedy
        assert finding.needs_a_person
        assert [finding.words in record.getMessage() for record in caplog.records] == [True]
        assert AccountState.objects.get().audit_findings == 1

    def test_one_that_may_be_an_unconfirmed_batchs_is_left_to_the_search(self, claude: ClaudeEmulator) -> None:
        before = claude.add_stranger(3)
        with Relay(claude.url) as relay:
            relay.on("POST", "/batches", lose_answer, times=1)
            batch = services.advance(services.submit(draft(3)))
        assert batch.state == State.UNCERTAIN
        other = claude.add_stranger(4)
        by_id = {finding.remote_id: finding for finding in found()}
        assert set(by_id) == {before, claude.batches[1].id, other}
        for maybe in (claude.batches[1].id, other):  # whatever it counts
            assert f"It may be what became of batch #{batch.pk}" in by_id[maybe].words
            assert not by_id[maybe].needs_a_person
        assert by_id[before].needs_a_person
        assert audited().needing == 1

    def test_what_was_deleted_here_is_not_missed(self, claude: ClaudeEmulator) -> None:
        complete(claude).delete()
        assert found() == []

    def test_one_whose_results_are_gone_is_not_named(self, claude: ClaudeEmulator) -> None:
        stranger = claude.add_stranger(1)
        claude.finish()
        claude.archive(stranger)
        assert found() == []

    def test_a_second_batch_of_one_submission_is_said_so(self, claude: ClaudeEmulator) -> None:
        batch = running()
        second = claude.add_stranger(3)
        now = timezone.now()
        SubmitAttempt.objects.create(
            batch=batch, number=2, tag="secondattempt", recorded_at=now, sent_at=now, remote_id=second
        )
        [finding] = found()
        assert (finding.kind, finding.remote_id) == (FindingKind.UNKNOWN_HERE, second)
        assert f"made by attempt 2 of batch {batch}, which is another: both are billed" in finding.words

    def test_a_row_of_another_account_with_the_same_workspace_is_known(
        self, claude: ClaudeEmulator, settings: Any
    ) -> None:
        account = {"API_KEY": claude.api_key, "BASE_URL": claude.url}
        settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {"second": account}}
        running()
        assert [(report.account, report.findings) for report in services.audit()] == [("default", []), ("second", [])]


class TestSharedAccount:
    """With `SHARED`, others create batches with the same key: batches without a row are assumed to be theirs."""

    @pytest.fixture(autouse=True)
    def shared(self, settings: Any) -> None:
        settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {"default": {"SHARED": True}}}

    def test_batches_of_others_are_counted_and_not_named(self, claude: ClaudeEmulator) -> None:
        running()
        claude.add_stranger(7), claude.add_stranger(2)
        report = audited()
        assert (report.listed, report.others, report.findings, report.needing) == (3, 2, [], 0)
        assert AccountState.objects.get().audit_findings == 0

    def test_one_that_may_be_an_unconfirmed_batchs_is_still_named(self, claude: ClaudeEmulator) -> None:
        claude.add_stranger(3)
        with Relay(claude.url) as relay:
            relay.on("POST", "/batches", lose_answer, times=1)
            batch = services.advance(services.submit(draft(3)))
        assert batch.state == State.UNCERTAIN
        report = audited()
        assert [finding.remote_id for finding in report.findings] == [claude.batches[1].id]
        assert (report.others, report.needing) == (1, 0)

    def test_a_second_batch_of_one_submission_and_one_that_is_gone_are_still_named(
        self, claude: ClaudeEmulator
    ) -> None:
        batch, second, now = running(), claude.add_stranger(3), timezone.now()
        SubmitAttempt.objects.create(
            batch=batch, number=2, tag="secondattempt", recorded_at=now, sent_at=now, remote_id=second
        )
        gone = running()
        delete_there(claude, gone)
        age(gone, 2 * HOUR)
        assert {finding.kind for finding in found()} == {FindingKind.UNKNOWN_HERE, FindingKind.UNKNOWN_THERE}

    def test_adopting_all_would_take_those_of_others(self, claude: ClaudeEmulator) -> None:
        stranger = claude.add_stranger(3)
        with pytest.raises(NotOurs, match="is SHARED"):
            services.adopt_all()
        assert not MessageBatch.objects.exists()
        assert services.adopt(stranger).anthropic_id == stranger


class TestUnknownThere:
    def test_a_running_batch_says_what_comes_next_and_keeps_its_state(self, claude: ClaudeEmulator) -> None:
        batch = running()
        delete_there(claude, batch)
        age(batch, 2 * HOUR)
        [finding] = found()
        assert (finding.kind, finding.batch, finding.needs_a_person) == (FindingKind.UNKNOWN_THERE, batch.pk, True)
        assert "is not at Anthropic" in finding.words
        assert "becomes lost automatically" in finding.remedy
        batch.refresh_from_db()
        assert (batch.state, batch.misses) == (State.IN_PROGRESS, 0)
        assert batch.events.get(what="audit_unknown_there").text == finding.words

    def test_the_timeline_says_it_once_and_again_when_it_changed(self, claude: ClaudeEmulator) -> None:
        batch = running()
        delete_there(claude, batch)
        age(batch, 2 * HOUR)
        for _ in range(3):
            assert kinds() == [FindingKind.UNKNOWN_THERE]
        events = batch.events.filter(what="audit_unknown_there")
        assert events.count() == 1
        events.update(text="otherwise")
        found()
        assert events.count() == 2

    def test_a_complete_one_needs_nobody(self, claude: ClaudeEmulator) -> None:
        batch = complete(claude)
        delete_there(claude, batch)
        age(batch, 40 * DAY)
        [finding] = found()
        assert (finding.kind, finding.needs_a_person) == (FindingKind.UNKNOWN_THERE, False)
        assert finding.remedy == "Nothing: all its results are rows here."
        age(batch, 40 * DAY, missing_count=2)
        [finding] = found()
        assert (finding.needs_a_person, finding.remedy) == (True, "A retry drafts the 2 missing ones anew.")

    def test_an_adopted_one_is_lost_only_after_29_days(self, claude: ClaudeEmulator) -> None:
        batch = services.adopt(claude.add_stranger(1))
        delete_there(claude, batch)
        age(batch, 2 * HOUR)
        [finding] = found()
        assert "becomes lost after 29 days" in finding.remedy

    def test_one_made_just_now_is_left_for_the_next_audit(self, claude: ClaudeEmulator) -> None:
        batch = running()
        delete_there(claude, batch)
        assert found() == []

    def test_a_listing_that_forgets_one_is_not_believed(self, claude: ClaudeEmulator) -> None:
        batch = running()
        age(batch, 2 * HOUR)
        with Relay(claude.url) as relay:
            relay.on("GET", "/batches", nothing_listed)
            report = audited()
        assert (report.findings, report.listed, report.asked_for, report.refuted) == ([], 0, 1, 1)

    def test_lost_and_deleted_ones_are_expected_to_be_gone(self, claude: ClaudeEmulator) -> None:
        deleted, lost = complete(claude), running()
        services.advance(services.delete_remote(deleted))
        delete_there(claude, lost)
        age(lost, 2 * DAY, state=State.LOST, next_action_at=None)
        age(deleted, 2 * DAY)
        assert found() == []

    def test_one_that_is_being_deleted_is_not_missed(self, claude: ClaudeEmulator) -> None:
        batch = complete(claude)
        services.delete_remote(batch)
        delete_there(claude, batch)
        age(batch, 2 * DAY)
        assert found() == []

    def test_the_key_of_another_workspace_is_one_finding_not_many(
        self, claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for batch in (running(), running()):
            age(batch, 2 * HOUR)
        claude.add_key("sk-ant-other", workspace_id="wrkspc_other")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-other")
        [finding] = found()
        assert (finding.kind, finding.batch) == (FindingKind.OTHER_WORKSPACE, None)
        assert "sees Workspace wrkspc_other, and unfinished batches were made in another: 2." in finding.words


class TestCountsDiffer:
    def test_of_each_outcome(self, claude: ClaudeEmulator) -> None:
        batch = complete(claude)
        MessageBatch.objects.filter(pk=batch.pk).update(succeeded_count=1, errored_count=2)
        [finding] = found()
        assert (finding.kind, finding.batch) == (FindingKind.COUNTS_DIFFER, batch.pk)
        assert "3 succeeded at Anthropic, 1 in the row; 0 errored at Anthropic, 2 in the row." in finding.words

    def test_of_the_requests(self, claude: ClaudeEmulator) -> None:
        batch = complete(claude)
        MessageBatch.objects.filter(pk=batch.pk).update(request_count=5)
        [finding] = found()
        assert "3 requests at Anthropic, 5 in the row." in finding.words

    def test_of_the_stored_results(self, claude: ClaudeEmulator) -> None:
        batch, whole = complete(claude), complete(claude, 2)
        batch.results.filter(custom_id="r-0").delete()
        batch.results.filter(custom_id="r-1").update(result_type="expired")
        [finding] = found()
        assert finding.batch == batch.pk != whole.pk
        assert "0 expired at Anthropic, 1 stored; 3 succeeded at Anthropic, 1 stored." in finding.words
        assert batch.events.filter(what="audit_counts_differ").count() == 1

    def test_what_is_known_to_be_missing_is_no_news(self, claude: ClaudeEmulator) -> None:
        batch = complete(claude)
        batch.results.filter(custom_id="r-0").delete()
        MessageBatch.objects.filter(pk=batch.pk).update(missing_count=1)
        assert found() == []

    def test_a_batch_that_is_not_final_is_still_to_be_mirrored(self, claude: ClaudeEmulator) -> None:
        running()
        claude.finish()
        assert found() == []

    def test_a_page_that_is_older_than_the_row_says_nothing(self, claude: ClaudeEmulator) -> None:
        batch = complete(claude)
        with Relay(claude.url) as relay:
            relay.on("GET", "/batches", rewrite(not_ended_yet))
            assert found() == []
            MessageBatch.objects.filter(pk=batch.pk).update(ingested_at=timezone.now() - 2 * HOUR)
            [finding] = found()
        assert "3 processing at Anthropic, 0 in the row" in finding.words


class TestAboutToArchive:
    @pytest.mark.parametrize(("days", "named"), [(26.9, False), (27.1, True), (28.9, True), (29.1, False)])
    def test_results_that_are_not_fetched(self, claude: ClaudeEmulator, days: float, named: bool) -> None:
        batch = running()
        claude.finish()
        with Relay(claude.url) as relay:
            relay.on("GET", "/results", refuse(500))
            services.advance(batch)
        age(batch, days * DAY)
        assert (kinds() == [FindingKind.ABOUT_TO_ARCHIVE]) == named

    def test_results_that_are_missing(self, claude: ClaudeEmulator) -> None:
        batch = complete(claude)
        age(batch, 28 * DAY)
        assert found() == []
        age(batch, 28 * DAY, missing_count=2)
        [finding] = found()
        assert (finding.kind, finding.batch, finding.needs_a_person) == (FindingKind.ABOUT_TO_ARCHIVE, batch.pk, True)
        until = timezone.now() + DAY
        assert f"2 of its results are missing, and they can be fetched until {until:%Y-%m-%d}" in finding.words

    @pytest.mark.usefixtures("quick")
    def test_it_is_known_without_anthropic(self, claude: ClaudeEmulator) -> None:
        age(complete(claude), 28 * DAY, missing_count=2)
        claude.fault("server_error", on="list", times=None)
        report = audited()
        assert [finding.kind for finding in report.findings] == [FindingKind.ABOUT_TO_ARCHIVE]
        assert "Anthropic answered 500" in report.problem


class TestStillThere:
    def test_one_that_was_deleted_is_listed_again(self, claude: ClaudeEmulator) -> None:
        batch = complete(claude)
        rows = MessageBatch.objects.filter(pk=batch.pk)
        rows.update(delete_requested_at=timezone.now(), remote_deleted_at=timezone.now())
        assert found() == [], "a listing may lag"
        rows.update(remote_deleted_at=timezone.now() - 2 * HOUR)
        [finding] = found()
        assert (finding.kind, finding.batch) == (FindingKind.STILL_THERE, batch.pk)
        assert "was deleted at Anthropic, which lists it all the same" in finding.words

    def test_a_wish_that_nobody_fulfilled(self, claude: ClaudeEmulator) -> None:
        batch = services.delete_remote(complete(claude))
        assert found() == []
        MessageBatch.objects.filter(pk=batch.pk).update(delete_requested_at=timezone.now() - 26 * HOUR)
        [finding] = found()
        assert (finding.kind, finding.batch) == (FindingKind.STILL_THERE, batch.pk)

    def test_a_wish_that_anthropic_refused(self, claude: ClaudeEmulator) -> None:
        batch = complete(claude)
        services.delete_remote(batch)
        with Relay(claude.url) as relay:
            relay.on("DELETE", str(batch.anthropic_id), refuse(403, "permission_error", "Not you."))
            for _ in range(5):
                services.advance(batch)
        assert batch.delete_requested_at is None
        [finding] = found()
        assert finding.kind == FindingKind.STILL_THERE
        assert "Not you." in finding.remedy
        assert f"claude_batches delete-remote {batch.pk}" in finding.remedy


class TestTheWholeListing:
    @pytest.mark.slow
    def test_more_than_a_page(self, claude: ClaudeEmulator) -> None:
        oldest, gone = running(1), running(1)
        for _ in range(2050):
            claude.add_stranger(1)
        delete_there(claude, gone)
        age(gone, 2 * HOUR)
        calls = len(claude.requests)
        seen: list[int] = []
        [report] = services.audit("default", progress=lambda report: seen.append(report.listed))
        assert (report.listed, report.is_complete, seen) == (2051, True, [1000, 2000, 2051])
        named = [finding.kind for finding in report.findings]
        assert (named.count(FindingKind.UNKNOWN_HERE), report.left_out, report.needing) == (
            MAX_FINDINGS_PER_KIND,
            1950,
            2051,
        )
        assert [finding.batch for finding in report.findings if finding.kind == FindingKind.UNKNOWN_THERE] == [gone.pk]
        assert len(claude.requests) - calls == 4, "three pages, and the one that was not listed"
        assert oldest.events.filter(what__startswith="audit").count() == 0

    @pytest.mark.slow
    def test_a_thousand_rows_cost_a_few_queries_and_two_calls(
        self, claude: ClaudeEmulator, django_assert_max_num_queries: Any
    ) -> None:
        for _ in range(1200):
            claude.add_stranger(1)
        services.adopt_all()
        MessageBatch.objects.update(created_at=F("created_at") - 2 * HOUR)
        calls = len(claude.requests)
        with django_assert_max_num_queries(30), Relay(claude.url) as relay:
            relay.on("GET", "/batches", rewrite(two_hours_earlier))
            assert found() == []
        assert len(claude.requests) - calls == 2

    @pytest.mark.slow
    def test_batches_of_one_moment_on_both_sides_of_a_page(self, claude: ClaudeEmulator) -> None:
        for _ in range(1200):
            claude.add_stranger(1)
        services.adopt_all()
        moment = timezone.now().replace(microsecond=0) - 2 * HOUR
        MessageBatch.objects.update(created_at=moment)
        with Relay(claude.url) as relay:
            relay.on("GET", "/batches", rewrite(lambda body: made_at(body, lambda _data: moment)))
            report = audited()
        assert (report.findings, report.listed, report.asked_for) == ([], 1200, 0)

    def test_a_listing_that_is_longer_than_the_time_says_so(self, claude: ClaudeEmulator) -> None:
        for _ in range(1001):
            claude.add_stranger(1)
        client = connect("default")
        [only] = list(listing_pages(client, "default", budget=timedelta(0)))
        assert (len(only.batches), only.is_last) == (1000, False)


class TestAccounts:
    def test_a_refused_key_ends_that_account_only(
        self, claude: ClaudeEmulator, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        account = {"API_KEY": "sk-ant-wrong", "BASE_URL": claude.url}
        settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {"broken": account}}
        claude.add_stranger(1)
        with caplog.at_level(logging.WARNING):
            broken, default = services.audit()
        assert (broken.account, broken.is_complete, broken.findings) == ("broken", False, [])
        assert broken.problem.startswith("Anthropic answered 401 authentication_error")
        assert (default.problem, len(default.findings)) == ("", 1)
        assert any(
            "The audit of account broken ended early: Anthropic answered 401" in text for text in caplog.messages
        )
        succeeded = AccountState.objects.filter(audited_at__isnull=False)
        assert [state.alias for state in succeeded] == ["default"]

    @pytest.mark.usefixtures("quick")
    def test_unreachable(self, claude: ClaudeEmulator, settings: Any) -> None:
        account = {"API_KEY": "sk-ant-x", "BASE_URL": "http://127.0.0.1:9"}
        settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {"away": account}}
        away, default = services.audit()
        assert "127.0.0.1" in away.problem or "connect" in away.problem.lower()
        assert default.problem == ""

    def test_without_a_key(self, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
        assert services.audit() == [], "nobody uses it"
        assert "No API key for account" in audited().problem
        MessageBatch.objects.create()
        assert len(services.audit()) == 1

    def test_a_paused_account_is_audited(self, claude: ClaudeEmulator) -> None:
        AccountState.objects.create(alias="default", paused_at=timezone.now(), pause_reason="no money")
        claude.add_stranger(1)
        assert kinds() == [FindingKind.UNKNOWN_HERE]

    def test_a_copy_of_the_database_is_not(self, claude: ClaudeEmulator, settings: Any) -> None:
        settings.CLAUDE_BATCHES = {"KICK": False, "INSTALLATION": "production"}
        age(complete(claude), 28 * DAY, missing_count=2)
        settings.CLAUDE_BATCHES = {"KICK": False, "INSTALLATION": "staging"}
        calls, events = len(claude.requests), BatchEvent.objects.count()
        report = audited()
        assert 'the settings say INSTALLATION = "staging"' in report.problem
        assert (report.findings, len(claude.requests), BatchEvent.objects.count()) == ([], calls, events)


class TestDaily:
    def test_once_a_day(self, claude: ClaudeEmulator) -> None:
        claude.add_stranger(1)
        assert [report.needing for report in audit_due()] == [1]
        assert audit_due() == []
        AccountState.objects.update(next_audit_at=timezone.now() - timedelta(seconds=1))
        assert len(audit_due()) == 1
        wait = AccountState.objects.get().next_audit_at - timezone.now()
        assert 23 * HOUR < wait < 24 * HOUR

    def test_a_failed_one_is_tried_again_in_an_hour(
        self, claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-wrong")
        [report] = audit_due()
        assert report.problem
        assert audit_due() == []
        state = AccountState.objects.get()
        assert state.audited_at is None
        assert timedelta(minutes=59) < state.next_audit_at - timezone.now() <= HOUR

    def test_by_hand_it_is_not_waited_for_and_counts(self, claude: ClaudeEmulator) -> None:
        account_state("default")
        audited(), audited()
        assert audit_due() == []

    @pytest.mark.usefixtures("celery_in_this_process")
    def test_the_task_sends_one_for_each_account(self, claude: ClaudeEmulator) -> None:
        tasks.audit()
        calls = len(claude.requests)
        tasks.audit()
        assert (calls, len(claude.requests)) == (1, 1)
        assert AccountState.objects.get().audited_at is not None

    def test_beat_looks_more_often_than_daily(self) -> None:
        entry = BEAT_SCHEDULE["django_claude_batches.audit"]
        assert entry["task"] == tasks.audit.name
        assert entry["schedule"] <= INTERVAL.total_seconds() / 12

    def test_the_tasks_limits_are_its_own(self) -> None:
        assert (tasks.audit.soft_time_limit, tasks.audit.time_limit) == (3600, 3660)
        assert (tasks.audit.ignore_result, tasks.audit.acks_late) == (True, False)
