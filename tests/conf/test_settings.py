from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, current_app
from django.contrib.contenttypes.fields import GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.test.utils import isolate_apps

from django_claude_batches import celery_checks, checks, conf, job_registry
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.models import BatchRequest
from django_claude_batches.schedule import BEAT_SCHEDULE
from tests.harness.shop import job

KEY = "sk-ant-canary"


def key_of_a_vault() -> str:
    return "sk-ant-vault"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_WORKSPACE_ID"):
        monkeypatch.delenv(name, raising=False)


def given(settings: Any, **account: Any) -> None:
    settings.CLAUDE_BATCHES = {"ACCOUNTS": {"default": account}}


def test_the_default_account_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", " sk-ant-env\n")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:8788/")
    monkeypatch.setenv("ANTHROPIC_WORKSPACE_ID", "wrkspc_1")
    account = conf.account("default")
    assert (account.api_key, account.base_url, account.workspace_id) == (
        "sk-ant-env",
        "http://127.0.0.1:8788",
        "wrkspc_1",
    )
    assert (account.auth, account.anthropic_version) == ("bearer", "2023-06-01")
    assert "sk-ant-env" not in repr(account)


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
def test_a_base_url_may_end_with_v1(settings: Any, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", f"https://gateway.example/anthropic{end}")
    settings.CLAUDE_BATCHES = {"ACCOUNTS": {"other": {"BASE_URL": f"https://api.anthropic.com{end}"}}}
    assert conf.account("default").base_url == "https://gateway.example/anthropic"
    assert conf.account("other").base_url == "https://api.anthropic.com"
    assert checks.check_settings(app_configs=None) == []


@pytest.mark.parametrize(
    "key", ["sk-ant-vault", key_of_a_vault, f"{__name__}.key_of_a_vault"], ids=["text", "callable", "dotted path"]
)
def test_a_key_is_text_a_callable_or_a_dotted_path(settings: Any, key: Any) -> None:
    given(settings, API_KEY=key)
    assert conf.account("default").api_key == "sk-ant-vault"


def test_stop_reasons_of_yours_are_beside_those_of_the_api(settings: Any) -> None:
    ends = {"end_turn", "stop_sequence", "tool_use"}
    assert conf.whole_stop_reasons() == ends
    settings.CLAUDE_BATCHES = {"WHOLE_STOP_REASONS": ["pause_turn", ""]}
    assert conf.whole_stop_reasons() == ends | {"pause_turn", ""}


@pytest.mark.parametrize(
    ("value", "words"),
    [("pause_turn", "a list of texts"), ([1], "a list of texts"), (["max_tokens"], 'cannot have "max_tokens"')],
)
def test_stop_reasons_that_cannot_be_are_found_by_check(settings: Any, value: Any, words: str) -> None:
    settings.CLAUDE_BATCHES = {"WHOLE_STOP_REASONS": value}
    [found] = checks.check_settings(app_configs=None)
    assert words in found.msg


def test_another_account_does_not_get_the_key_of_the_environment(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-env")
    settings.CLAUDE_BATCHES = {"ACCOUNTS": {"second": {}}}
    assert conf.account("default").api_key == "sk-ant-env"
    with pytest.raises(conf.ConfigurationError) as caught:
        _ = conf.account("second").api_key
    assert str(caught.value) == (
        'No API key for account "second". Set CLAUDE_BATCHES["ACCOUNTS"]["second"]["API_KEY"].'
    )


def test_no_key_says_what_to_set() -> None:
    with pytest.raises(conf.ConfigurationError) as caught:
        _ = conf.account("default").api_key
    assert str(caught.value) == (
        'No API key for account "default". Set ANTHROPIC_API_KEY or CLAUDE_BATCHES["ACCOUNTS"]["default"]["API_KEY"].'
    )
    assert isinstance(caught.value, ImproperlyConfigured)
    assert not isinstance(caught.value, ClaudeBatchesError)


WRONG = [
    ({"ACOUNTS": {}}, 'no setting "ACOUNTS": did you mean "ACCOUNTS"?'),
    ({"kick": False}, 'did you mean "KICK"?'),
    ({"ACCOUNTS": []}, "must map aliases"),
    ({"ACCOUNTS": {"default": {"APIKEY": "x"}}}, 'no setting "APIKEY": did you mean "API_KEY"?'),
    ({"ACCOUNTS": {"default": {"AUTH": "basic"}}}, "must be one of bearer, x-api-key"),
    ({"ACCOUNTS": {"default": {"ANTHROPIC_VERSION": "2024"}}}, "must be one of 2023-06-01, 2026-10-21"),
    ({"ACCOUNTS": {"default": {"TIMEOUTS": 5}}}, "two positive numbers"),
    ({"ACCOUNTS": {"default": {"TIMEOUTS": (0, 5)}}}, "two positive numbers"),
    ({"ACCOUNTS": {"default": {"TIMEOUTS": "12"}}}, "two positive numbers"),
    ({"ACCOUNTS": {"default": {"TIMEOUTS": (float("nan"), 5)}}}, "two positive numbers"),
    ({"ACCOUNTS": {"default": {"TIMEOUTS": (5, float("inf"))}}}, "each at most 86,400"),
    ({"ACCOUNTS": {"default": {"TOTAL_TIMEOUT": 0}}}, "positive number of seconds, at most 86,400, or None"),
    ({"ACCOUNTS": {"default": {"TOTAL_TIMEOUT": True}}}, "positive number of seconds, at most 86,400, or None"),
    ({"ACCOUNTS": {"default": {"TOTAL_TIMEOUT": float("nan")}}}, "positive number of seconds"),
    ({"ACCOUNTS": {"default": {"MIN_RESULTS_RATE": -1}}}, "bytes per second, 0 to 1,000,000,000"),
    ({"ACCOUNTS": {"default": {"MIN_RESULTS_RATE": False}}}, "bytes per second"),
    ({"ACCOUNTS": {"default": {"MIN_RESULTS_RATE": None}}}, "bytes per second"),
    ({"ACCOUNTS": {"default": {"API_KEY": 7}}}, "a text, a callable or a dotted path"),
    ({"ACCOUNTS": {"default": {"API_KEY": "sk-ant-\u00e9"}}}, "cannot stand in a header"),
    ({"ACCOUNTS": {"default": {"BASE_URL": 7}}}, "must be a text, not int"),
    ({"ACCOUNTS": {"default": {"BASE_URL": "api.anthropic.com"}}}, 'Account "default": base_url must be like https://'),
    ({"ACCOUNTS": {"default": {"BASE_URL": "https://["}}}, 'Account "default": base_url must be like https://'),
    ({"ACCOUNTS": {"default": {"BASE_URL": "https://a:99999"}}}, 'Account "default": base_url must be like https://'),
    ({"ACCOUNTS": {"default": {"WORKSPACE_ID": 7}}}, '["WORKSPACE_ID"] must be a Workspace'),
    ({"ACCOUNTS": {"default": {"WORKSPACE_ID": "a b"}}}, '["WORKSPACE_ID"] must be a Workspace'),
    ({"ACCOUNTS": {"default": {"AUTH": ["bearer"]}}}, "must be one of bearer, x-api-key"),
    ({"ACCOUNTS": {"default": {"PROXIES": "http://proxy:3128"}}}, '["PROXIES"] must be a dictionary, such as'),
    ({"ACCOUNTS": {"default": {"PROXIES": {"https": 3128}}}}, "must map schemes to the URLs of proxies"),
    ({"ACCOUNTS": {"default": {"PROXIES": {"https": "proxy"}}}}, "must map schemes to the URLs of proxies"),
    ({"ACCOUNTS": {"default": {"PROXIES": {1: "http://proxy"}}}}, "must map schemes to the URLs of proxies"),
    ({"ACCOUNTS": {"default": {"VERIFY": 0}}}, '["VERIFY"] must be True, False, or the path'),
    ({"ACCOUNTS": {"default": {"VERIFY": ""}}}, '["VERIFY"] must be True, False, or the path'),
    ({"ACCOUNTS": {"default": {"ALLOW_HTTP": "yes"}}}, '["ALLOW_HTTP"] must be True or False'),
    ({"ACCOUNTS": {"default": {"SHARED": 1}}}, '["SHARED"] must be True or False'),
    ({"ACCOUNTS": {"default": {"BASE_URL": "https://user:hunter2@gateway"}}}, "must not hold a user or a password"),
    ({"ACCOUNTS": {"default": {}, "other": 7}}, '["other"] must be a dictionary, not int'),
    ({"ACCOUNTS": {7: {}}}, "The alias 7"),
    ({"ACCOUNTS": {"x" * 65: {}}}, "must be a text of 1 to 64 characters"),
    ({"ACCOUNTS": {"default": {"API_KEY": "no.such.path"}}}, "cannot be imported"),
    ({"SEND_DEADLINE": 0}, "positive timedelta"),
    ({"CREATE_READ_TIMEOUT": True}, "positive timedelta"),
    ({"CREATE_READ_TIMEOUT": timedelta(days=2)}, "must be a day at most"),
    ({"SEND_DEADLINE": 100_000}, "must be a day at most"),
    ({"SUBMIT_QUIET_PERIOD": "soon"}, "positive timedelta"),
    ({"ON_NOT_CREATED": "panic"}, "one of retry, hold"),
    ({"INGEST_ATTEMPTS": 0}, "whole number from 1"),
    ({"SEND_DEADLINE": float("nan")}, "positive timedelta or number of seconds."),
    ({"SEND_DEADLINE": 1e20}, "positive timedelta or number of seconds."),
    ({"RETENTION": 30}, '["RETENTION"] must be a dictionary, not int'),
    ({"RETENTION": {"REQUEST_BODY": 30}}, 'no setting "REQUEST_BODY": did you mean "REQUEST_BODIES"?'),
    (
        {"RETENTION": {"RESULT_BODIES": 0}},
        '["RESULT_BODIES"] must be a positive timedelta or number of seconds or None',
    ),
    ({"RETENTION": {"RESULT_BODIES": "30 days"}}, "positive timedelta or number of seconds or None"),
    ({"RETENTION": {"REMOTE_COPIES": True}}, "positive timedelta or number of seconds or None"),
    ({"RETENTION": {"REMOTE_COPIES": timedelta(days=-1)}}, "positive timedelta or number of seconds or None"),
    ({"RETENTION": {"REQUEST_BODIES": timedelta.max}}, "100 years at most"),
    ({"ANNOUNCE_ATTEMPTS": True}, "whole number from 1"),
    ({"PRICES": 5}, '["PRICES"] must be a dictionary, not int'),
    ({"PRICES": {"claude-x": 5}}, '["PRICES"]: "claude-x" must be a dictionary of USD per million tokens'),
    ({"PRICES": {"claude-x": {"input": 1}}}, 'lacks the price "output"'),
    ({"PRICES": {"claude-x": {"input": 1, "output": "free"}}}, "must be a number of USD per million tokens"),
    ({"PRICES": {"claude-x": {"input": 1, "output": -1}}}, "must be a number of USD per million tokens"),
    ({"PRICES": {"claude-x": {"input": 1, "output": 1, "outputs": 1}}}, 'has no price "outputs"; it knows: input'),
    ({"PRICES": {"claude-x": {"input": 1, "output": 1, "above": {"input": 1}}}}, '"prompt_tokens", a whole number'),
    (["ACCOUNTS"], "must be a dictionary"),
]


@pytest.mark.parametrize(("value", "words"), WRONG)
def test_a_wrong_setting_is_said_at_start_up(settings: Any, value: Any, words: str) -> None:
    settings.CLAUDE_BATCHES = value
    (error,) = checks.check_settings(app_configs=None)
    assert error.id == "django_claude_batches.E003"
    assert words in error.msg


def test_each_account_is_checked_and_one_that_is_wrong_stops_no_other(settings: Any) -> None:
    settings.CLAUDE_BATCHES = {
        "ACCOUNTS": {"a": {"AUTH": "x"}, "b": {"PROXIES": "y"}, "c": {"API_KEY": "z"}, 7: {}, "d": 7}
    }
    found = checks.check_settings(app_configs=None)
    assert [error.id for error in found] == ["django_claude_batches.E003"] * 4
    assert conf.account("c").api_key == "z"
    assert conf.accounts() == ["default", "a", "b", "c", "d"]


@pytest.mark.parametrize(
    "kept",
    [
        {"PROXIES": {"https": "http://user:hunter2@["}},
        {"API_KEY": "hunter2 \u20ac"},
        {"BASE_URL": "https://user:hunter2@gateway"},
        {"BASE_URL": "https://user:hunter2@["},
    ],
)
def test_no_error_about_a_setting_shows_a_secret(settings: Any, kept: Any) -> None:
    given(settings, **kept)
    (error,) = checks.check_settings(app_configs=None)
    assert "hunter2" not in error.msg


@pytest.mark.parametrize(
    "given",
    [
        {"ACCOUNTS": {"default": {"API_KEY": KEY, "AUTH": "digest"}}},
        {"ACCOUNTS": {"default": {"API_KEY": KEY, "TIMEOUTS": 7}}},
        {"ACCOUNTS": {"default": {"API_KEY": KEY, "TIMEOUT": 7}}},
        {"ACCOUNTS": {"default": {"API_KEY": KEY, "PROXIES": "http://proxy:3128"}}},
        {"ACCOUNTS": {"default": KEY}},
        {"ACCOUNTS": {"default": {"API_KEY": KEY}}, "KICKS": True},
        {"ACCOUNTS": {"defualt": {"API_KEY": KEY}}},
    ],
)
def test_no_frame_of_a_wrong_setting_holds_the_key(settings: Any, given: Any) -> None:
    """Django's error page and Sentry print the locals of each frame."""
    settings.CLAUDE_BATCHES = given
    with pytest.raises(conf.ConfigurationError) as caught:
        conf.account("default" if "defualt" not in given["ACCOUNTS"] else "prod")
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [frame for frame in report.stack if Path(frame.filename).parent == Path(conf.__file__).parent]
    assert frames
    assert KEY not in "".join(str(frame.locals) for frame in frames)
    assert report.__context__ is None


def sealed(_token: str = "") -> str:
    try:
        raise KeyError(f"token {KEY}")
    except KeyError as error:
        raise PermissionError(f"vault sealed, last lease {KEY}") from error


SOURCES = {"callable": sealed, "dotted path": f"{__name__}.sealed", "partial": partial(sealed, KEY)}


@pytest.mark.parametrize("source", SOURCES)
def test_what_a_keys_source_raises_is_kept_without_its_text(settings: Any, source: str) -> None:
    given(settings, API_KEY=SOURCES[source])
    with pytest.raises(
        conf.ConfigurationError, match=r"\"default\" could not be asked for: PermissionError\."
    ) as caught:
        _ = conf.account("default").api_key
    assert KEY not in "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert (caught.value.__context__, caught.value.__cause__) == (None, None)


def test_no_repr_of_an_account_shows_a_password(settings: Any) -> None:
    given(settings, API_KEY=KEY, PROXIES={"https": "http://user:hunter2@proxy:3128"})
    account = conf.account("default")
    assert account.proxies == {"https": "http://user:hunter2@proxy:3128"}
    assert "hunter2" not in repr(account)
    assert KEY not in repr(account)


def test_an_unknown_account_names_those_that_there_are(settings: Any) -> None:
    settings.CLAUDE_BATCHES = {"ACCOUNTS": {"production": {"API_KEY": "x"}}}
    with pytest.raises(conf.ConfigurationError, match=r'did you mean "production".*has: default, production'):
        conf.account("prodution")


def test_durations_are_timedeltas_or_seconds(settings: Any) -> None:
    settings.CLAUDE_BATCHES = {"SEND_DEADLINE": 30, "SUBMIT_QUIET_PERIOD": timedelta(minutes=1)}
    assert (conf.send_deadline(), conf.submit_quiet_period()) == (timedelta(seconds=30), timedelta(minutes=1))
    assert conf.create_read_timeout() == timedelta(minutes=10)


def test_retention_is_for_ever_unless_said(settings: Any) -> None:
    assert conf.retention() == conf.Retention(None, None, None)
    assert conf.retention().is_for_ever
    settings.CLAUDE_BATCHES = {"RETENTION": {"REQUEST_BODIES": 86_400, "REMOTE_COPIES": timedelta(days=7)}}
    assert conf.retention() == conf.Retention(timedelta(days=1), None, timedelta(days=7))
    assert not conf.retention().is_for_ever


@pytest.fixture
def make_app() -> Iterator[Callable[[str], Celery]]:
    """Make a Celery app the current one; one called "default" is as the one that Celery makes where there is none."""
    before = current_app._get_current_object()
    yield Celery
    before.set_current()


class TestChecks:
    def ids(self, found: list[Any]) -> list[str]:
        assert all(message.hint for message in found)
        return [message.id.rpartition(".")[2] for message in found]

    def test_the_suite_itself_is_clean(self) -> None:
        assert [check(app_configs=None) for check in checks.ALL] == [[]] * len(checks.ALL)

    def test_time_zones(self, settings: Any) -> None:
        settings.USE_TZ = False
        assert self.ids(checks.check_time_zones(app_configs=None)) == ["E001"]

    def test_contenttypes(self, settings: Any) -> None:
        settings.INSTALLED_APPS = ["django_claude_batches"]
        assert self.ids(checks.check_contenttypes(app_configs=None)) == ["E002"]

    @isolate_apps("tests.harness.library")
    def test_relations_that_would_delete_paid_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Shelf(models.Model):
            asked = GenericRelation(BatchRequest)
            others = GenericRelation(ContentType)

            class Meta:
                app_label = "library"

            def __str__(self) -> str:
                return "shelf"

        monkeypatch.setattr(checks, "apps", Shelf._meta.apps)
        (error,) = checks.check_relations(app_configs=None)
        assert error.id == "django_claude_batches.E006"
        assert "Shelf.asked is a GenericRelation to BatchRequest" in error.msg
        assert "Write asked = BatchTargets() instead" in str(error.hint)

    @pytest.mark.parametrize(
        ("account", "ids"),
        [
            ({"BASE_URL": "http://gateway.example"}, ["E004"]),
            ({"BASE_URL": "https://gateway.example", "VERIFY": False}, ["E005"]),
            ({"BASE_URL": "https://gateway.example", "VERIFY": "/etc/ca.pem"}, []),
            ({"BASE_URL": "http://127.0.0.1:8788", "VERIFY": False}, []),
            ({"BASE_URL": "http://localhost:8788"}, []),
            ({"BASE_URL": "http://127.0.1.1:8788"}, []),
            ({"BASE_URL": "http://gateway.example", "ALLOW_HTTP": True}, []),
            ({"BASE_URL": "http://[::1]:8788"}, []),
        ],
    )
    def test_keys_in_the_clear(self, settings: Any, account: Any, ids: list[str]) -> None:
        given(settings, **account)
        assert self.ids(checks.check_settings(app_configs=None)) == ids

    @pytest.mark.parametrize(
        ("database", "ids"),
        [
            ({"ENGINE": "django.db.backends.mysql", "OPTIONS": {"charset": "utf8"}}, ["W001"]),
            ({"ENGINE": "django.db.backends.mysql"}, []),
            ({"ENGINE": "django.db.backends.sqlite3"}, ["W002"]),
            ({"ENGINE": "django.db.backends.sqlite3", "OPTIONS": {"transaction_mode": "immediate"}}, []),
            ({"ENGINE": "django.db.backends.postgresql"}, []),
        ],
    )
    def test_databases(self, monkeypatch: pytest.MonkeyPatch, database: Any, ids: list[str]) -> None:
        monkeypatch.setattr("django.conf.settings.DATABASES", {"default": database})
        assert self.ids(checks.check_databases(app_configs=None)) == ids

    @pytest.mark.parametrize("zone", [None, "UTC", "Etc/UTC", "GMT", "Zulu", "Asia/Tokyo", "Europe/London", "No/Where"])
    @pytest.mark.parametrize("vendor", ["sqlite3", "mysql", "postgresql"])
    def test_a_time_zone_of_our_database(self, monkeypatch: pytest.MonkeyPatch, vendor: str, zone: str | None) -> None:
        ours = {"ENGINE": f"django.db.backends.{vendor}", "TIME_ZONE": zone}
        monkeypatch.setattr("django.conf.settings.DATABASES", {"default": ours, "theirs": {**ours, "TIME_ZONE": "CET"}})
        is_other = zone in {"Asia/Tokyo", "Europe/London", "No/Where"}
        ids = ["E008"] if is_other and vendor != "postgresql" else []
        assert self.ids(checks.check_database_time_zone(app_configs=None)) == ids

    def test_http_that_is_allowed_is_said_at_deployment(self, settings: Any) -> None:
        settings.CLAUDE_BATCHES = {"ACCOUNTS": {"a": {"ALLOW_HTTP": True}, "b": {"ALLOW_HTTP": 1}, "c": {}}}
        (warning,) = checks.check_clear_text(app_configs=None)
        assert (warning.id, warning.msg[:11]) == ("django_claude_batches.W007", 'Account "a"')
        settings.CLAUDE_BATCHES = []
        assert checks.check_clear_text(app_configs=None) == []

    @pytest.mark.parametrize(
        ("given", "ids"),
        [
            ({"SUBMIT_QUIET_PERIOD": 599}, ["W008"]),
            ({"SUBMIT_QUIET_PERIOD": 600}, []),
            ({"CREATE_READ_TIMEOUT": 1, "SEND_DEADLINE": 1}, []),
            ({"CREATE_READ_TIMEOUT": 2400}, []),
            ({"CREATE_READ_TIMEOUT": 2401}, ["W005"]),
            ({"SEND_DEADLINE": 3600, "SUBMIT_QUIET_PERIOD": 1}, ["W005", "W008"]),
            ({"SEND_DEADLINE": -1}, []),  # an error already
        ],
    )
    def test_waits_that_do_not_go_together(self, settings: Any, given: Any, ids: list[str]) -> None:
        settings.CLAUDE_BATCHES = given
        assert self.ids(checks.check_waits(app_configs=None)) == ids

    def test_schedule(self, settings: Any) -> None:
        settings.CELERY_BEAT_SCHEDULE = {"other": {"task": "mail.send", "schedule": 60}}
        assert self.ids(celery_checks.check_schedule(app_configs=None)) == ["W003"]
        audit = "django_claude_batches.audit"
        settings.CELERY_BEAT_SCHEDULE = {audit: BEAT_SCHEDULE[audit]}
        assert [found.id for found in celery_checks.check_schedule(app_configs=None)] == ["django_claude_batches.W003"]
        settings.CELERY_BEAT_SCHEDULE = {**BEAT_SCHEDULE}
        assert celery_checks.check_schedule(app_configs=None) == []

    @pytest.mark.parametrize(
        ("changes", "ids"),
        [
            ({}, ["W003"]),
            ({"CLAUDE_BATCHES": {"KICK": False}}, []),
            ({"CLAUDE_BATCHES": {"KIK": False}}, []),  # an error already
            ({"INSTALLED_APPS": ["django_celery_beat"]}, []),
        ],
    )
    def test_no_schedule_at_all(
        self, make_app: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], ids: list[str]
    ) -> None:
        make_app("default")
        for name, value in ({"CLAUDE_BATCHES": {}} | changes).items():
            monkeypatch.setattr(f"django.conf.settings.{name}", value)
        assert self.ids(celery_checks.check_schedule(app_configs=None)) == ids

    @pytest.mark.parametrize(
        ("changes", "ids"),
        [
            ({"beat_schedule": BEAT_SCHEDULE}, []),
            ({"beat_schedule": {"mail": {"task": "mail.send", "schedule": 60}}}, ["W003"]),
            ({"beat_scheduler": "redbeat.RedBeatScheduler"}, []),
        ],
    )
    def test_a_schedule_that_only_celery_knows(
        self, make_app: Any, settings: Any, changes: dict[str, Any], ids: list[str]
    ) -> None:
        settings.CLAUDE_BATCHES = {}
        make_app("tests").conf.update(changes)
        assert self.ids(celery_checks.check_schedule(app_configs=None)) == ids

    def test_settings_of_celery_that_cannot_be_read(self, make_app: Any, settings: Any) -> None:
        settings.CLAUDE_BATCHES = {}
        make_app("tests").config_from_object("a_module_of_the_worker_image")
        (message,) = celery_checks.check_schedule(app_configs=None)
        assert (message.id, message.msg) == (
            "django_claude_batches.W003",
            "Celery's settings cannot be read: ModuleNotFoundError.",
        )

    def test_a_tick_that_is_added_when_the_app_is_finalized(self, make_app: Any, settings: Any) -> None:
        settings.CLAUDE_BATCHES = {}
        app = make_app("tests")

        @app.on_after_finalize.connect(weak=False)
        def schedule(sender: Celery, **options: Any) -> None:
            sender.conf.beat_schedule = {**BEAT_SCHEDULE}

        assert celery_checks.check_schedule(app_configs=None) == []

    def test_messages_that_nobody_takes(self, make_app: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.CLAUDE_BATCHES = {}
        make_app("default")
        assert self.ids(celery_checks.check_celery(app_configs=None)) == ["W010"]
        settings.CLAUDE_BATCHES = {"KICK": False}
        assert celery_checks.check_celery(app_configs=None) == []
        settings.CLAUDE_BATCHES = {}
        monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1")
        assert celery_checks.check_celery(app_configs=None) == []
        monkeypatch.delenv("CELERY_BROKER_URL")
        make_app("tests")
        assert celery_checks.check_celery(app_configs=None) == []

    def test_a_schedule_that_compares_two_clocks(self, settings: Any) -> None:
        expiring = {"tick": {**BEAT_SCHEDULE["django_claude_batches.tick"], "options": {"expires": 30}}}
        nightly = {"nightly": {"task": "django_claude_batches.start_job", "options": {"expires": 3600}}}
        theirs = {"mail": {"task": "mail.send", "options": {"expires": 3600}}}
        settings.CELERY_BEAT_SCHEDULE = expiring | nightly | theirs
        assert self.ids(celery_checks.check_schedule(app_configs=None)) == ["W009", "W009"]


def test_a_job_whose_model_retires_is_found_by_check() -> None:
    job("retiring", claude_model="claude-sonnet-4-5")
    found = [message for message in checks.check_models(app_configs=None) if "claude-sonnet-4-5 retire" in message.msg]
    job_registry.unregister("retiring")
    assert [message.id for message in found] == ["django_claude_batches.W011"]


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"max_tokens": 70_000}, ["claude-haiku-4-5 refuses max_tokens above 64,000."]),
        ({"max_tokens": 64_000}, []),
        ({"max_tokens": 70_000, "claude_model": "mine"}, []),
        ({"max_tokens": "many", "betas": None}, []),
        ({"max_tokens": 70_000, "get_params": lambda self, row: {}}, []),
        ({"max_tokens": 70_000, "get_betas": lambda self, row: []}, []),
        ({"max_tokens": 200_000, "claude_model": "claude-opus-5", "betas": ["output-300k-2026-03-24"]}, []),
    ],
)
def test_what_a_jobs_class_says_that_its_model_refuses_is_found_by_check(
    members: dict[str, Any], told: list[str]
) -> None:
    made = job("limited", **members)
    found = [message.msg for message in checks.check_models(app_configs=None) if message.obj is made]
    job_registry.unregister("limited")
    assert found == told
