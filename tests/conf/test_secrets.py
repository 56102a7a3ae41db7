"""A key that stands out, looked for everywhere that it must not be."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.views.debug import ExceptionReporter
from kombu import Connection

from django_claude_batches import checks, conf, services, tasks
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.models import BatchUpload, MessageBatch, State
from django_claude_batches.services.connection import connect
from django_claude_batches.services.engine import tick
from django_claude_batches.services.uploads.confirm import dispatch_due_uploads
from django_claude_batches.signals import results_ingested
from django_claude_batches.testing import Bend, ClaudeEmulator
from tests.client.scripted_server import Answer, Hangup, Raw, Script, batch, page, refused, serving
from tests.harness.factories import draft
from tests.harness.selections import slow_but

KEY = "sk-ant-api03-CANARY-4f1d0c77"
CANARY = "CANARY"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("quick")]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything that anybody logs, urllib3's debugging included."""
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "requests", "celery", "django", "django_claude_batches"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


@pytest.fixture
def claude() -> Iterator[ClaudeEmulator]:
    with ClaudeEmulator(api_key=KEY, seed=1) as emulator:
        yield emulator


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """An API that answers what a test says, for the key that stands out."""
    with serving() as script:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", script.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        yield script


def rows() -> str:
    """All rows of all tables, as Python shows them."""
    shown = [repr(row) for model in apps.get_models() for row in model._base_manager.values_list()]
    assert shown
    return "\n".join(shown)


def rendered(error: BaseException) -> str:
    """An error as an error-tracking service shows it: the whole chain, with the local variables of each frame."""
    chain: list[BaseException | None] = [error, error.__cause__, error.__context__]
    shown = [repr(link.args) + repr(vars(link)) + str(link) for link in chain if link is not None]
    return "\n".join([*traceback.TracebackException.from_exception(error, capture_locals=True).format(), *shown])


def logged(log: pytest.LogCaptureFixture) -> str:
    shown = [log.text]
    for record in log.records:
        shown.append(repr(vars(record)))
        if record.exc_info and record.exc_info[1] is not None:
            shown.append(rendered(record.exc_info[1]))
    return "\n".join(shown)


def test_the_canary_is_really_sent(claude: ClaudeEmulator) -> None:
    services.advance(services.submit(draft(3)))
    assert KEY in str([request.headers for request in claude.requests])


def test_lines_that_are_no_results_are_shown_without_it(claude: ClaudeEmulator, log: pytest.LogCaptureFixture) -> None:
    batch = services.submit(draft(3))
    services.advance(batch)
    claude.finish()
    for text in (KEY, "x" * 490 + KEY, f'{{"custom_id": "{KEY}", "result": {{"type": "canceled"}}}}'):
        claude.fault("garbage_line", text=text)
    claude.bend(Bend(endpoint="results", field="custom_id", to=KEY, entry=2))
    services.advance(batch)
    assert batch.problems.count() == 3
    assert CANARY not in logged(log) + rows()


def test_the_journey_leaves_it_in_no_log_and_no_row(claude: ClaudeEmulator, log: pytest.LogCaptureFixture) -> None:
    batch = services.submit(draft(3))
    services.advance(batch)
    claude.finish()
    services.advance(batch)
    services.delete_remote(batch)
    services.advance(batch)
    assert batch.remote_deleted_at is not None
    assert "POST /v1/messages/batches" in log.text
    assert CANARY not in logged(log)
    assert CANARY not in rows()


def test_no_repr_shows_it(claude: ClaudeEmulator, batch: MessageBatch) -> None:
    account, client = conf.account("default"), connect("default")
    assert account.api_key == KEY
    shown = f"{account!r} {account} {client!r} {client} {batch!r} {vars(batch)!r} {conf.accounts()!r}"
    assert CANARY not in shown


def configure(settings: Any, form: str) -> None:
    """Give the key to the settings, one of which is wrong, without keeping it in the frame of a test."""
    given = KEY if form == "text" else lambda: KEY
    settings.CLAUDE_BATCHES = {"ACCOUNTS": {"default": {"API_KEY": given, "BASE_URL": "http://api.test", "AUTH": "x"}}}


@pytest.mark.parametrize("form", ["text", "callable"])
def test_neither_do_the_settings_nor_the_checks(form: str, settings: Any) -> None:
    configure(settings, form)
    with pytest.raises(conf.ConfigurationError) as caught:
        conf.account("default")
    assert CANARY not in rendered(caught.value)
    assert CANARY not in repr([check(app_configs=None) for check in checks.ALL])


def configure_badly(settings: Any, form: str) -> None:
    """The same, wrong in the key itself or in how another account's is found."""
    accounts: dict[str, Any] = {"default": {"API_KEY": KEY}, "eu": {"API_KEY": KEY.encode}}
    if form == "path":
        accounts["eu"] = {"API_KEY": "tests.conf.raises_at_import.key"}
    elif form == "url":
        accounts["eu"] = {"API_KEY": KEY, "BASE_URL": b"http://api.test"}
    settings.CLAUDE_BATCHES = {"ACCOUNTS": accounts}


@pytest.mark.parametrize("form", ["bytes", "path", "url"])
def test_nor_does_one_that_is_no_text_or_cannot_be_found(form: str, settings: Any) -> None:
    configure_badly(settings, form)
    with pytest.raises(conf.ConfigurationError) as caught:
        connect("eu")
    assert CANARY not in rendered(caught.value)


def unreachable(settings: Any, **account: Any) -> None:
    """Give the account a key and a proxy's password, without keeping them in the frame of a test."""
    proxies = {"https": f"http://user:{KEY}@127.0.0.1:9", "http": "http://127.0.0.1:9"}
    settings.CLAUDE_BATCHES = {"ACCOUNTS": {"default": {"API_KEY": KEY, "PROXIES": proxies, **account}}}


@pytest.mark.parametrize(
    ("account", "words"),
    [
        (
            {"BASE_URL": "http://gateway.test"},
            "base_url would send the key in the clear to gateway.test. Use https, or",
        ),
        ({"BASE_URL": "http://127.0.0.1.test"}, "in the clear to 127.0.0.1.test"),
        ({"BASE_URL": f"https://user:{KEY}@gateway.test"}, "must not hold a user or a password"),
        ({"BASE_URL": "nowhere"}, "base_url must be like"),
    ],
)
def test_an_account_that_cannot_be_used_sends_nothing(account: Any, words: str, settings: Any) -> None:
    unreachable(settings, **account)
    with pytest.raises(conf.ConfigurationError, match=words) as caught:
        connect("default")
    error = caught.value.with_traceback(caught.value.__traceback__ and caught.value.__traceback__.tb_next)
    assert CANARY not in rendered(error)
    report = ExceptionReporter(None, type(error), error, error.__traceback__)
    shown = [frame["vars"] for frame in report.get_traceback_frames()]
    assert shown
    assert CANARY not in str(shown)


def test_http_beyond_loopback_may_be_allowed(settings: Any) -> None:
    unreachable(settings, BASE_URL="http://gateway.test", ALLOW_HTTP=True)
    client = connect("default")
    with pytest.raises(ClaudeBatchesError, match="Proxy") as caught:
        client.retrieve("msgbatch_01QqYr4Qk28BBxwJ9N9L4PxX")
    assert CANARY not in rendered(caught.value)


FAILURES = {
    "refused key": [refused(401, "authentication_error", "invalid x-api-key")],
    "refused access": [refused(403, "permission_error", "no access")],
    "server fault": [page(), Answer(500, body=b"<html>oops</html>")],
    "lost answer": [page(), Hangup()],
    "reset": [page(), Hangup(reset=True)],
    "cut answer": [page(), Answer(data=batch(), cut=True)],
    "not JSON": [page(), Answer(body=b"{]")],
    "redirect": [page(), Answer(302, headers={"Location": "http://127.0.0.1:9/elsewhere"})],
    "refused batch": [page(), refused(400, "invalid_request_error", "requests: too short")],
    "echo in the reason": [page(), Answer(500, reason=f"no {KEY}", body=b"")],
    "echo in request-id": [page(), Answer(500, body=b"no", headers={"request-id": KEY})],
    "echo in Location": [page(), Answer(302, headers={"Location": f"https://{KEY}.example/"})],
    "echo in the status line": [page(), Raw(f"HTTP/1.1 {KEY}\r\n\r\n".encode())],
    "echo in a refusal": [page(), refused(400, "x", "no", details={"error_code": KEY})],
}


@pytest.mark.parametrize("failure", slow_but(2, FAILURES))
def test_a_failing_submission_leaves_it_nowhere(failure: str, scripted: Script, log: pytest.LogCaptureFixture) -> None:
    scripted.answers(*FAILURES[failure])
    batch = services.submit(draft(3))
    services.advance(batch)
    assert any(KEY in str(received.headers) for received in scripted.received)
    assert batch.state in {State.QUEUED, State.UNCERTAIN, State.REJECTED}
    assert batch.last_error
    assert CANARY not in logged(log).upper()
    assert CANARY not in rows().upper()


@pytest.mark.parametrize("failure", ["refused key", "server fault", "not JSON", "redirect"])
def test_what_a_verb_raises_does_not_carry_it(failure: str, scripted: Script) -> None:
    scripted.answers(FAILURES[failure][-1])
    with pytest.raises(ClaudeBatchesError) as caught:
        services.adopt("msgbatch_01QqYr4Qk28BBxwJ9N9L4PxX")
    assert CANARY not in rendered(caught.value)


def test_nor_does_what_is_raised_where_nobody_listens(
    monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with pytest.raises(ClaudeBatchesError) as caught:
        services.adopt("msgbatch_01QqYr4Qk28BBxwJ9N9L4PxX")
    assert CANARY not in rendered(caught.value)
    batch = services.submit(draft(3))
    services.advance(batch)
    assert batch.state == State.QUEUED
    assert CANARY not in rows() + logged(log)


def test_an_error_of_a_receiver_does_not_show_it(claude: ClaudeEmulator, log: pytest.LogCaptureFixture) -> None:
    def fail(**_kwargs: Any) -> None:
        raise ValueError("a receiver of the app's")

    results_ingested.connect(fail)
    try:
        batch = services.submit(draft(3))
        services.advance(batch)
        claude.finish()
        services.advance(batch)
    finally:
        results_ingested.disconnect(fail)
    assert "a receiver of the app's" in batch.last_error
    assert CANARY not in rows() + logged(log)


def test_no_celery_message_carries_it(claude: ClaudeEmulator) -> None:
    batch = services.submit(draft(3))
    upload = BatchUpload.objects.store([b"a prompt"], name="requests.jsonl")
    name = "of-this-test-alone"  # the broker in memory is shared by all tests of the process
    with Connection("memory://") as connection, connection.SimpleQueue(name) as queue:
        tasks.tick.apply_async(connection=connection, queue=name)
        sent = tick(lambda pk: tasks.advance.apply_async((pk,), connection=connection, queue=name))
        sent += dispatch_due_uploads(lambda pk: tasks.prepare.apply_async((pk,), connection=connection, queue=name))
        messages = [queue.get(timeout=5) for _ in range(1 + sent)]
    assert sent == 2
    assert [message.headers["task"] for message in messages] == [
        tasks.tick.name,
        tasks.advance.name,
        tasks.prepare.name,
    ]
    assert [message.headers["argsrepr"] for message in messages] == ["()", f"({batch.pk},)", f"({upload.pk},)"]
    assert CANARY not in "".join(f"{message.body!r}{message.headers!r}{message.properties!r}" for message in messages)


DIAGNOSED = {**FAILURES, "nothing": [page()], "wrong settings": [page()]}


@pytest.mark.parametrize("form", slow_but(1, ["environment", "text", "callable"]))
@pytest.mark.parametrize("failure", slow_but(2, DIAGNOSED))
def test_the_doctor_does_not_show_it(
    failure: str, form: str, scripted: Script, settings: Any, log: pytest.LogCaptureFixture
) -> None:
    scripted.answers(DIAGNOSED[failure][-1])
    if form != "environment":
        account = {"API_KEY": KEY if form == "text" else lambda: KEY, "BASE_URL": scripted.url}
        account |= {"AUTH": "x"} if failure == "wrong settings" else {}
        settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {"default": account}}
    out, err = StringIO(), StringIO()
    for shape in ([], ["--json"]):
        with contextlib.suppress(CommandError):
            call_command("claude_batches", "doctor", *shape, stdout=out, stderr=err)
    assert "key of default" in out.getvalue() or failure == "wrong settings"
    assert CANARY not in (out.getvalue() + err.getvalue()).upper()
    assert CANARY not in (logged(log) + rows()).upper()
