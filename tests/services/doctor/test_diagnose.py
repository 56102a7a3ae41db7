"""What a diagnosis says, with each thing that can be wrong made wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import F
from django.utils import timezone

from django_claude_batches import conf, job_registry, services
from django_claude_batches.exceptions import InsideTransaction
from django_claude_batches.models import AccountState, MessageBatch, State
from django_claude_batches.schedule import BEAT_SCHEDULE
from django_claude_batches.services import engine
from django_claude_batches.services.doctor.report import CheckResult, Diagnosis
from django_claude_batches.testing import ClaudeEmulator
from tests.client.scripted_server import Answer, Script, batch, page, refused, serving
from tests.db.test_second_database import OurTablesElsewhere
from tests.harness.factories import draft, in_state, item, running
from tests.harness.shop import job
from tests.reliability.protocol.clock import database_clock

pytestmark = pytest.mark.django_db

OK, WARNING, FAILED, SKIPPED = CheckResult
HOUR = timedelta(hours=1)

OF_VENDORS = {"sqlite": {"transactions"}, "postgresql": {"driver", "compression"}, "mysql": {"characters", "packet"}}


@pytest.fixture(autouse=True)
def named(settings: Any) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "INSTALLATION": "the tests"}
    settings.CELERY_BEAT_SCHEDULE = {**BEAT_SCHEDULE}


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    with serving() as script:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", script.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-x")
        yield script


def diagnosis(name: str, **options: Any) -> Diagnosis:
    """Make a diagnosis, and give the one thing that it says by this name."""
    [found] = [one for one in services.diagnose(**options) if one.name == name]
    return found


def verdicts(**options: Any) -> dict[str, CheckResult]:
    return {one.name: one.verdict for one in services.diagnose(**options)}


@pytest.mark.database
def test_all_is_well(claude: ClaudeEmulator) -> None:
    assert engine.begin_tick(is_kick=False)
    engine.tick(lambda pk: None)
    found = services.diagnose()
    assert [one for one in found if one.verdict != OK] == []
    names = {
        "settings",
        "waits",
        "time_zones",
        "relations",
        "schedule",
        "installation",
        "retention",
        "database",
        "migrations",
        "models",
    }
    names |= {
        "database_clock",
        "tick",
        "worker_clock",
        "attention",
        "key",
        "listing",
        "clock",
        "workspace",
        "speed",
        "sending",
    }
    assert {one.name for one in found} == names | OF_VENDORS[connection.vendor]
    assert {one.about for one in found} == {"", "default"}
    [asked] = claude.requests
    assert (asked.method, asked.query) == ("GET", {"limit": "1"})


@pytest.mark.slow
def test_it_changes_nothing(claude: ClaudeEmulator, settings: Any) -> None:
    claude.fault("slow_answer", delay=0.5, times=None)
    settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {"default": {"TIMEOUTS": (5, 0.1)}}}
    assert verdicts()["listing"] == FAILED
    assert not AccountState.objects.exists()  # to be the first that names the installation is left to what acts


class TestAnAccount:
    def test_without_a_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
        key = diagnosis("key")
        assert (key.verdict, key.about) == (FAILED, "default")
        assert key.words.startswith('No API key for account "default". Set ANTHROPIC_API_KEY or CLAUDE_BATCHES["ACC')
        found = verdicts()
        assert (found["listing"], found["clock"], found["sending"]) == (SKIPPED, SKIPPED, OK)

    def test_a_key_of_the_environment_that_is_refused(
        self, claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-wrong")
        key = diagnosis("key")
        assert (key.verdict, key.words.partition(":")[0]) == (FAILED, "ANTHROPIC_API_KEY is refused")
        assert "Anthropic answered 401" in key.words
        assert key.remedy.startswith("Put a key that is valid into ANTHROPIC_API_KEY, restart")
        found = verdicts()
        assert (found["listing"], found["clock"]) == (SKIPPED, SKIPPED)

    @pytest.mark.parametrize("form", [str, lambda key: lambda: key], ids=["text", "callable"])
    def test_a_key_of_the_settings_that_is_refused(
        self, claude: ClaudeEmulator, settings: Any, form: Callable[[str], Any]
    ) -> None:
        account = {"API_KEY": form("sk-ant-wrong"), "BASE_URL": claude.url}
        settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {"research": account}}
        key = diagnosis("key", account="research")
        assert (key.verdict, key.about) == (FAILED, "research")
        assert key.words.startswith(
            'CLAUDE_BATCHES["ACCOUNTS"]["research"]["API_KEY"] is refused: Anthropic answered 401'
        )
        assert "`claude_batches resume research`" in key.remedy

    @pytest.mark.parametrize(
        ("answer", "key", "listing", "remedy"),
        [
            (refused(402, "billing_error", "pay"), OK, FAILED, "the billing"),
            (refused(403, "permission_error", "no"), OK, FAILED, "may do"),
            (refused(429, "rate_limit_error", "slow", x_should_retry="false"), OK, WARNING, "Nothing: "),
            (refused(400, "invalid_request_error", "odd"), OK, FAILED, "Look at what it says"),
            (refused(529, "overloaded_error", "busy", x_should_retry="false"), SKIPPED, FAILED, "it is temporary"),
            (Answer(403, body=b"<html>proxy</html>"), SKIPPED, FAILED, "it is temporary"),
            (Answer(302, headers={"Location": "http://elsewhere.invalid"}), SKIPPED, FAILED, "If 127.0.0.1:"),
        ],
        ids=["billing", "permission", "rate", "request", "overloaded", "proxy", "redirect"],
    )
    def test_another_refusal(
        self, scripted: Script, answer: Answer, key: CheckResult, listing: CheckResult, remedy: str
    ) -> None:
        scripted.answers(answer)
        found = {one.name: one for one in services.diagnose()}
        assert (found["key"].verdict, found["listing"].verdict, found["clock"].verdict) == (key, listing, SKIPPED)
        assert f"Anthropic answered {answer.status}" in found["listing"].words
        assert remedy in found["listing"].remedy

    @pytest.mark.usefixtures("quick")
    def test_nobody_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-x")
        found = {one.name: one for one in services.diagnose()}
        assert (found["key"].verdict, found["listing"].verdict) == (SKIPPED, FAILED)
        assert "Connection refused" in found["listing"].words
        assert "BASE_URL (127.0.0.1:9)" in found["listing"].remedy

    @pytest.mark.parametrize(
        ("off", "verdict", "words"),
        [
            (timedelta(), OK, "This machine's goes with Anthropic's."),
            (timedelta(seconds=25), OK, "This machine's goes with Anthropic's."),
            (timedelta(hours=-1), WARNING, " s ahead of Anthropic's."),
            (timedelta(hours=1), WARNING, " s behind Anthropic's."),
        ],
    )
    def test_the_clock_of_this_machine(
        self, scripted: Script, off: timedelta, verdict: CheckResult, words: str
    ) -> None:
        date = format_datetime(datetime.now(UTC) + off, usegmt=True)
        scripted.answers(Answer(data=page().data, headers={"Date": date}))
        clock = diagnosis("clock")
        assert (clock.verdict, words in clock.words) == (verdict, True), clock
        assert ("NTP" in clock.remedy) == (verdict == WARNING)

    @pytest.mark.parametrize(
        ("off", "verdict", "words"),
        [
            (timedelta(seconds=25), OK, "goes with the database's."),
            (timedelta(seconds=40), WARNING, " 40 s ahead of the database's."),
            (timedelta(hours=-1), WARNING, " 3,600 s behind the database's."),
        ],
    )
    def test_the_clock_of_a_worker(self, off: timedelta, verdict: CheckResult, words: str) -> None:
        assert diagnosis("worker_clock", offline=True).verdict == SKIPPED
        assert engine.begin_tick(is_kick=False)
        AccountState.objects.update(tick_clock_at=F("tick_began_at") + off)
        clock = diagnosis("worker_clock", offline=True)
        assert (clock.verdict, words in clock.words) == (verdict, True), clock
        assert ("`expires`" in clock.remedy) == (verdict == WARNING)

    def test_an_answer_without_a_date_and_a_workspace(self, scripted: Script) -> None:
        scripted.answers(page(batch()))
        found = verdicts()
        assert (found["listing"], found["clock"], found["workspace"]) == (OK, SKIPPED, SKIPPED)

    def test_a_key_of_another_workspace(self, claude: ClaudeEmulator) -> None:
        MessageBatch.objects.filter(pk=running().pk).update(workspace_id="wrkspc_theirs")
        workspace = diagnosis("workspace")
        assert (workspace.verdict, claude.workspace_id in workspace.words) == (FAILED, True)
        assert "a key of the Workspace" in workspace.remedy

    @pytest.mark.database
    def test_a_paused_one(self, claude: ClaudeEmulator) -> None:
        state = AccountState.objects.create(alias="default", paused_at=timezone.now(), pause_reason="No more money.")
        sending = diagnosis("sending")
        assert (sending.verdict, sending.words) == (FAILED, "Paused, so nothing is sent: No more money.")
        assert "`claude_batches resume default`" in sending.remedy
        AccountState.objects.filter(pk=state.pk).update(paused_until=timezone.now() + HOUR)
        sending = diagnosis("sending")
        assert (sending.verdict, sending.words.startswith("Paused until 2")) == (WARNING, True)
        AccountState.objects.filter(pk=state.pk).update(paused_until=timezone.now() - HOUR)
        assert diagnosis("sending").verdict == OK

    @pytest.mark.database
    def test_a_slow_one(self, claude: ClaudeEmulator) -> None:
        now = timezone.now()
        state = AccountState.objects.create(alias="default", slow_since=now - HOUR, slow_at=now)
        speed = diagnosis("speed")
        assert speed.verdict == WARNING
        assert speed.words.startswith(f"Since {now - HOUR:%Y-%m-%d %H:%M:%S} UTC calls have run into their time limits")
        AccountState.objects.filter(pk=state.pk).update(slow_at=now - HOUR)
        assert diagnosis("speed").verdict == OK

    def test_a_copy_of_the_database(self, claude: ClaudeEmulator) -> None:
        AccountState.objects.create(alias="default", installation="production")
        copy = diagnosis("copy")
        assert (copy.verdict, '"production"' in copy.words, '"the tests"' in copy.words) == (FAILED, True, True)
        assert "`claude_batches confirm-installation default`" in copy.remedy
        assert AccountState.objects.get().installation == "production"

    def test_offline_nobody_is_asked(self, claude: ClaudeEmulator) -> None:
        key = diagnosis("key", offline=True)
        assert (key.verdict, key.words) == (OK, "ANTHROPIC_API_KEY is set; whether it is accepted was not asked.")
        found = verdicts(offline=True)
        assert (found["listing"], found["clock"], found["sending"]) == (SKIPPED, SKIPPED, OK)
        assert claude.requests == []


class TestWhichAccounts:
    @pytest.fixture(autouse=True)
    def two(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
        settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {"research": {"API_KEY": "sk-ant-x"}, "keyless": {}}}

    def keys(self, **options: Any) -> dict[str, CheckResult]:
        return {one.about: one.verdict for one in services.diagnose(offline=True, **options) if one.name == "key"}

    def test_those_of_the_settings_and_default_where_it_has_a_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.keys() == {"keyless": FAILED, "research": OK}
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-x")
        assert self.keys() == {"default": OK, "keyless": FAILED, "research": OK}

    def test_those_of_batches_in_flight(self) -> None:
        AccountState.objects.create(alias="forgotten")
        draft(1, account="forgotten")
        assert "forgotten" not in self.keys()
        in_state(State.QUEUED, account="forgotten")
        in_state(State.IN_PROGRESS)
        assert self.keys() == {"default": FAILED, "forgotten": FAILED, "keyless": FAILED, "research": OK}

    def test_one_that_was_named(self) -> None:
        assert self.keys(account="research") == {"research": OK}
        with pytest.raises(conf.ConfigurationError, match='Unknown account "reserch": did you mean "research"'):
            services.diagnose("reserch")


class TestTheSettings:
    def test_a_wrong_one(self, claude: ClaudeEmulator, settings: Any) -> None:
        settings.CLAUDE_BATCHES = {"INSTALATION": "x"}
        found = {one.name: one for one in services.diagnose()}
        assert (found["settings"].verdict, "did you mean" in found["settings"].words) == (FAILED, True)
        assert (found["accounts"].verdict, found["database"].verdict) == (SKIPPED, OK)
        assert claude.requests == []

    def test_a_key_is_not_sent_in_the_clear_to_be_tried(self, settings: Any) -> None:
        account = {"API_KEY": "sk-ant-x", "BASE_URL": "http://gateway.invalid"}
        settings.CLAUDE_BATCHES = {"ACCOUNTS": {"research": account}, "INSTALLATION": "the tests"}
        found = {one.name: one for one in services.diagnose()}
        assert (found["settings"].verdict, "in the clear" in found["settings"].words) == (FAILED, True)
        assert "listing" not in found

    def test_what_the_checks_say(self, settings: Any) -> None:
        settings.USE_TZ = False
        settings.CELERY_BEAT_SCHEDULE = {}
        settings.CLAUDE_BATCHES = {"KICK": False}
        found = verdicts(offline=True)
        assert (found["time_zones"], found["schedule"], found["installation"]) == (FAILED, WARNING, WARNING)

    def test_without_a_schedule(self, settings: Any) -> None:
        del settings.CELERY_BEAT_SCHEDULE
        assert diagnosis("schedule", offline=True).verdict == SKIPPED

    def test_what_is_kept(self, settings: Any) -> None:
        assert diagnosis("retention", offline=True).words == "RETENTION is not set: all is kept for ever."
        settings.CLAUDE_BATCHES = {"RETENTION": {"REQUEST_BODIES": timedelta(days=30), "REMOTE_COPIES": HOUR * 12}}
        assert diagnosis("retention", offline=True).words == (
            "Kept, from when a batch is finished: request bodies 30 days, result bodies for ever, copies at Anthropic "
            "0.5 days."
        )


@pytest.mark.database
@pytest.mark.skipif(connection.vendor == "postgresql", reason="it stores times with their zone")
def test_a_time_zone_of_the_database_is_not_blamed_on_ntp(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine.begin_tick(is_kick=False)
    monkeypatch.setitem(connection.settings_dict, "TIME_ZONE", "Asia/Tokyo")
    for name in ("timezone", "timezone_name"):
        connection.__dict__.pop(name, None)
    try:
        found = {one.name: one for one in services.diagnose(offline=True)}
    finally:
        monkeypatch.undo()
        for name in ("timezone", "timezone_name"):
            connection.__dict__.pop(name, None)
    assert (found["database_clock"].verdict, found["worker_clock"].verdict) == (FAILED, SKIPPED)
    assert "TIME_ZONE = 'Asia/Tokyo'" in found["database_clock"].words
    assert not [one for one in found.values() if "NTP" in one.remedy]


@pytest.mark.database
class TestTicks:
    def put_last(self, before: timedelta) -> None:
        AccountState.objects.update_or_create(alias="default", defaults={"last_tick_at": timezone.now() - before})

    def test_none_ever(self) -> None:
        tick = diagnosis("tick", offline=True)
        assert (tick.verdict, tick.words) == (WARNING, "No tick ever came by. No work is due.")
        assert "claude_batches tick --loop" in tick.remedy

    def test_one_lately_while_work_is_due(self) -> None:
        services.submit(draft(1))
        self.put_last(timedelta(seconds=60))
        assert diagnosis("tick", offline=True).verdict == OK

    def test_none_lately(self) -> None:
        self.put_last(timedelta(seconds=120))
        assert diagnosis("tick", offline=True).verdict == WARNING
        services.submit(draft(1))
        tick = diagnosis("tick", offline=True)
        assert (tick.verdict, "and work is due: nothing is moving." in tick.words) == (FAILED, True)

    def test_a_run_is_work(self) -> None:
        job().start()
        assert diagnosis("tick", offline=True).verdict == FAILED


class TestTheDatabase:
    @pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite lets its clock be replaced")
    @pytest.mark.parametrize(("shift", "words"), [(HOUR, "3,600 s ahead of"), (-HOUR, "3,600 s behind")])
    def test_its_clock(self, shift: timedelta, words: str) -> None:
        with database_clock(lambda: datetime.now(UTC) + shift):
            clock = diagnosis("database_clock", offline=True)
        assert (clock.verdict, clock.words) == (WARNING, f"It is {words} this machine's.")

    @pytest.mark.database
    def test_migrations_that_are_not_applied(self, claude: ClaudeEmulator) -> None:
        MigrationRecorder(connection).record_unapplied("django_claude_batches", "0002_by_database")
        found = {one.name: one for one in services.diagnose()}
        assert found["migrations"].verdict == FAILED
        assert found["migrations"].words == "Not applied: django_claude_batches.0002_by_database."
        assert found["migrations"].remedy == "`manage.py migrate --database default`"
        assert {"tick", "sending", "workspace", "database_clock"} & found.keys() == set()
        assert found["key"].verdict == OK

    @pytest.mark.skipif(connection.vendor != "sqlite", reason="of SQLite")
    def test_sqlite_without_immediate(self, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
        monkeypatch.setitem(settings.DATABASES["default"], "OPTIONS", {})
        transactions = diagnosis("transactions", offline=True)
        assert (transactions.verdict, "database is locked" in transactions.words) == (WARNING, True)

    @pytest.mark.database
    @pytest.mark.skipif(connection.vendor != "postgresql", reason="of PostgreSQL")
    def test_a_large_column_that_is_not_compressed_by_lz4(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE django_claude_batches_batchresult ALTER COLUMN message SET COMPRESSION pglz")
        compression = diagnosis("compression", offline=True)
        assert compression.verdict == WARNING
        assert compression.words.endswith("django_claude_batches_batchresult.message.")
        with connection.cursor() as cursor:
            cursor.execute(compression.remedy.partition("`")[2].partition("`")[0])
        assert diagnosis("compression", offline=True).verdict == OK

    @pytest.mark.database
    @pytest.mark.skipif(connection.vendor != "postgresql", reason="of PostgreSQL")
    def test_a_server_that_uses_lz4_by_itself(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE django_claude_batches_batchresult ALTER COLUMN message SET COMPRESSION default")
            assert diagnosis("compression", offline=True).verdict == WARNING
            cursor.execute("SET LOCAL default_toast_compression = lz4")
        assert diagnosis("compression", offline=True).verdict == OK

    @pytest.mark.skipif(connection.vendor == "mysql", reason="the tables of another database are not there")
    @pytest.mark.django_db(databases=["default", "other"])
    def test_the_one_that_is_written_to_is_looked_at(self, settings: Any) -> None:
        settings.DATABASE_ROUTERS = [OurTablesElsewhere()]
        found = services.diagnose(offline=True)
        assert {one.about for one in found if one.name in {"database", "migrations", "database_clock"}} == {"other"}


@pytest.mark.database
@pytest.mark.skipif(connection.vendor != "mysql", reason="of MariaDB and MySQL")
@pytest.mark.django_db(transaction=True)
def test_a_column_that_is_not_utf8mb4() -> None:
    alter = "ALTER TABLE django_claude_batches_messagebatch MODIFY label varchar(200) CHARACTER SET {} NOT NULL"
    with connection.cursor() as cursor:
        cursor.execute(alter.format("latin1"))
        try:
            found = [one for one in services.diagnose(offline=True) if one.name == "characters"]
        finally:
            cursor.execute(alter.format("utf8mb4"))
    assert [one.verdict for one in found] == [OK, FAILED]
    assert found[1].words.endswith("cannot be stored: django_claude_batches_messagebatch.label.")
    assert diagnosis("characters", offline=True).verdict == OK


@pytest.mark.django_db(transaction=True)
def test_not_inside_a_transaction(claude: ClaudeEmulator) -> None:
    with transaction.atomic(), pytest.raises(InsideTransaction):
        services.diagnose()
    assert claude.requests == []


@pytest.mark.database
def test_models_that_retire_are_named(claude: ClaudeEmulator) -> None:
    job("retiring", claude_model="claude-sonnet-4-5")
    services.submit(MessageBatch.objects.create_draft([item(0, model="claude-sonnet-4-5-20250929")]))
    found = [one for one in services.diagnose(offline=True) if one.name == "models"]
    job_registry.unregister("retiring")
    assert found[0].remedy == "Change it in the jobs and in the batches that are not sent."
    assert [(one.verdict, one.words.partition(" retire")[0]) for one in found] == [
        (WARNING, "claude-sonnet-4-5"),
        (WARNING, "claude-sonnet-4-5-20250929"),
    ]


@pytest.mark.database
def test_what_models_refuse_of_jobs_and_unsent_batches_is_added_up(claude: ClaudeEmulator) -> None:
    job("limited", max_tokens=70_000)
    hot = {"model": "claude-opus-5", "temperature": 1}
    MessageBatch.objects.create_draft([item(0, **hot)])
    last = MessageBatch.objects.create_draft([item(0), item(1, **hot), item(2, **hot)])
    found = [one for one in services.diagnose(offline=True) if one.name == "models"]
    job_registry.unregister("limited")
    assert [(one.verdict, one.words) for one in found] == [
        (WARNING, "claude-haiku-4-5 refuses max_tokens above 64,000."),
        (WARNING, f"claude-opus-5 refuses temperature (3 requests, the first is r-1 of batch #{last.pk})."),
    ]
