"""After a purge nothing quotes a request or an answer: a word is stored in every way, and no column contains it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import (
    AccountState,
    BatchUpload,
    JobRun,
    MessageBatch,
    RemoteBatch,
    State,
    SubmitAttempt,
    UploadState,
)
from django_claude_batches.models.large_columns import REMOVED_TEXT
from django_claude_batches.services.uploads.confirm import dispatch_due_uploads
from django_claude_batches.services.uploads.prepare import prepare
from django_claude_batches.signals import results_ingested
from django_claude_batches.testing import ClaudeEmulator, Failure
from tests.harness.factories import in_state, item, make_due
from tests.harness.leaks import where
from tests.harness.library.models import Review
from tests.harness.relay import Relay, refuse, rewrite
from tests.harness.selections import slow_but
from tests.harness.shop import SCHEMA, deliver_all, job, over, reviews

pytestmark = [pytest.mark.django_db, pytest.mark.database]

WORD = "Quetzalcoatl"
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def keep_a_month(settings: Any) -> None:
    retention = {"REQUEST_BODIES": 30 * DAY, "RESULT_BODIES": 30 * DAY}
    settings.CLAUDE_BATCHES = {"KICK": False, "RETENTION": retention, "ANNOUNCE_ATTEMPTS": 1}


@pytest.fixture
def telling() -> Iterator[ClaudeEmulator]:
    """Claude repeats the word; the API quotes it in the error of a certain request."""

    def reply(params: Any, custom_id: str) -> Any:
        if "fail" in custom_id:
            return Failure("invalid_request_error", f"messages: {WORD}", while_running=True)
        return f"{WORD} it is"

    with ClaudeEmulator(seed=1, replies=reply) as claude:
        yield claude


def asked(number: int, **params: Any) -> dict[str, Any]:
    return item(number, messages=[{"role": "user", "content": f"Is it {WORD}?"}], **params)


def ready(**options: Any) -> MessageBatch:
    items = [asked(0, system=f"Think of {WORD}"), {**asked(1), "custom_id": "fail"}]
    return MessageBatch.objects.create_draft(items, **options)


def raising(**kwargs: Any) -> None:
    raise LookupError(WORD)


def by_signals(claude: ClaudeEmulator) -> set[str]:
    """A create call is refused with a message that quotes the request, a line is cut, a receiver quotes the answer."""
    with Relay(claude.url) as relay:
        relay.on("POST", "/batches", refuse(400, "invalid_request_error", f"requests.0: {WORD}"), times=1)
        relay.on("GET", "/results", rewrite(lambda body: f'{{"text": "{WORD}\n'.encode() + body))
        batch = services.advance(services.submit(ready()))
        assert batch.state == State.REJECTED
        services.advance(services.submit(batch))
        claude.finish()
        results_ingested.connect(raising)
        try:
            services.advance(batch)
        finally:
            results_ingested.disconnect(raising)
    there = where(WORD)
    services.advance(services.announce_again(batch))
    assert (batch.state, batch.last_error, batch.problems.count()) == (State.INGESTED, "", 1)
    return there


def by_a_job(claude: ClaudeEmulator) -> set[str]:
    """A handler, a validator and `on_finished` quote the answer."""
    reviews(1)
    Review.objects.update(text=WORD)
    run = over(job(on_result=lambda *args: raising(), on_finished=lambda *args: raising()).start(), claude)
    there = where(WORD)
    job()
    services.redeliver_failed(run)
    deliver_all()
    Review.objects.update(tags="")
    over(job("strict", output_schema=SCHEMA, max_attempts=2).start(), claude)
    return there


def by_a_pause(claude: ClaudeEmulator) -> set[str]:
    """The first row cannot be asked: the run has no batch."""
    Review.objects.create(text=WORD)
    run = over(job("asking", get_prompt=lambda self, review: raising()).start(), claude)
    assert run.is_paused
    return where(WORD)


def by_an_upload(_claude: ClaudeEmulator) -> set[str]:
    lines = [json.dumps(asked(0)), json.dumps({"custom_id": "x", "params": {"model": WORD, "max_tokens": WORD}})]
    prepare(BatchUpload.objects.store(["\n".join(lines).encode()], name="requests.jsonl"))
    prepare(BatchUpload.objects.store([f"text\n{WORD}".encode()], name="t.csv", prompt=f"{WORD} {{text}}", system=WORD))
    return where(WORD)


def by_a_search(_claude: ClaudeEmulator) -> set[str]:
    """Anthropic's error when the results of a possibly lost batch were read."""
    batch = in_state(State.ABANDONED)
    batch.log_event("abandoned")
    SubmitAttempt.objects.filter(batch=batch).update(candidates=[{"id": "msgbatch_1", "why": WORD}])
    MessageBatch.objects.filter(pk=batch.pk).update(last_error=f"It may be it: {WORD}")
    RemoteBatch.objects.create(account="default", remote_id="msgbatch_1", first_seen_at=timezone.now(), why=WORD)
    return where(WORD)


def by_a_pause_of_the_account(claude: ClaudeEmulator) -> set[str]:
    with Relay(claude.url) as relay:
        relay.on("POST", "/batches", refuse(403, "permission_error", f"Not {WORD}"), times=1)
        batch = services.advance(services.submit(ready()))
    assert AccountState.objects.get().pause_reason
    there = where(WORD)
    AccountState.objects.update(paused_at=None)
    make_due(batch)
    services.advance(batch)
    claude.finish()
    services.advance(batch)
    assert batch.state == State.INGESTED, batch.last_error
    AccountState.objects.update(paused_at=timezone.now())
    return there


WAYS: dict[Callable[[ClaudeEmulator], set[str]], set[str]] = {
    by_a_pause: {"JobRun.pause_reason"},
    by_signals: {
        *("BatchRequest.params_text", "BatchResult.message", "BatchResult.error_message"),
        *("ResultProblem.excerpt", "BatchEvent.text", "MessageBatch.last_error"),
    },
    by_a_job: {"FailedDelivery.error", "FailedDelivery.traceback", "JobRun.last_error"},
    by_an_upload: {"UploadPart.data", "BatchUpload.prompt", "BatchUpload.system", "BatchUpload.samples"},
    by_a_search: {"SubmitAttempt.candidates", "RemoteBatch.why", "MessageBatch.last_error"},
    by_a_pause_of_the_account: {"AccountState.pause_reason"},
}


def let_a_month_pass() -> None:
    past = timezone.now() - 31 * DAY
    columns: dict[type[Model], tuple[str, ...]] = {
        MessageBatch: ("announced_at", "drafted_at"),
        JobRun: ("paused_at", "finished_at"),
        AccountState: ("paused_at",),
        BatchUpload: ("created_at",),
        RemoteBatch: ("first_seen_at",),
    }
    for model, names in columns.items():
        for name in names:
            model._default_manager.filter(**{f"{name}__isnull": False}).update(**{name: past})
    for batch in MessageBatch.objects.all():
        batch.events.update(at=past)


@pytest.mark.parametrize("way", slow_but(1, WAYS), ids=lambda way: way.__name__)
def test_nothing_quotes_a_body_after_a_purge(telling: ClaudeEmulator, way: Callable[..., set[str]]) -> None:
    there = way(telling)
    assert there >= WAYS[way], WAYS[way] - there
    services.purge()  # nothing is old enough
    assert where(WORD)
    let_a_month_pass()
    for review in Review.objects.all():
        review.delete()
    [report] = services.purge()
    assert (report.problem, report.request_bodies.kept, report.result_bodies.kept) == ("", 0, 0)
    assert where(WORD) == set()


def test_why_a_row_was_left_out_quotes_nothing(telling: ClaudeEmulator) -> None:
    row = Review.objects.create(text=WORD)
    run = over(job("asking", get_prompt=lambda self, review: raising(), skip_unaskable=True).start(), telling)
    [(named, why)] = run.left_out_rows
    assert named == f"library.Review {row.pk}"
    assert why.startswith("LookupError at tests.services.retention.test_purge_completeness, line ")
    assert where(WORD) == set()


def test_what_pauses_is_still_paused_and_what_failed_still_failed(telling: ClaudeEmulator) -> None:
    by_a_pause(telling)
    let_a_month_pass()
    services.purge()
    run = JobRun.objects.get()
    assert (run.is_paused, run.pause_reason) == (True, REMOVED_TEXT)
    over(services.resume_run(run), telling)
    assert WORD in run.pause_reason


def test_that_a_key_was_refused_stays() -> None:
    why = "Anthropic answered 401 authentication_error: invalid x-api-key"
    AccountState.objects.create(alias="default", paused_at=timezone.now() - 31 * DAY, pause_reason=why)
    services.purge()
    assert AccountState.objects.get().pause_reason == why


@pytest.mark.parametrize(
    ("retention", "hours", "stays"),
    [
        ({"RESULT_BODIES": timedelta(hours=1)}, 48, True),
        ({"REQUEST_BODIES": timedelta(hours=1)}, 2, True),
        ({"REQUEST_BODIES": timedelta(hours=1), "RESULT_BODIES": timedelta(hours=1)}, 25, False),
        ({"REQUEST_BODIES": 3 * DAY}, 71, True),
        ({"REQUEST_BODIES": 3 * DAY}, 73, False),
    ],
)
def test_a_file_goes_with_requests_and_not_before_a_day(
    settings: Any, retention: dict[str, timedelta], hours: int, stays: bool
) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "RETENTION": retention}
    upload = uploaded(timedelta(hours=hours))
    services.purge()
    assert BatchUpload.objects.filter(pk=upload.pk).exists() == stays


@pytest.mark.parametrize("purge", [services.purge, lambda: dispatch_due_uploads(lambda pk: None)])
def test_a_file_at_which_a_worker_is_stays(purge: Callable[[], object]) -> None:
    upload = uploaded(31 * DAY)
    assert BatchUpload.objects.acquire(upload.pk)
    purge()
    assert BatchUpload.objects.exists()


@pytest.mark.parametrize("purge", [services.purge, lambda: dispatch_due_uploads(lambda pk: None)])
def test_a_file_that_is_confirmed_meanwhile_stays(purge: Callable[[], object]) -> None:
    upload = uploaded(31 * DAY)
    confirmed: list[str] = []

    def confirm(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        found = execute(sql, params, many, context)
        if not confirmed and sql.startswith("SELECT") and BatchUpload._meta.db_table in sql:
            confirmed.append(sql)
            services.confirm_upload(upload)
        return found

    with connection.execute_wrapper(confirm):
        purge()
    assert confirmed
    assert BatchUpload.objects.get().state == UploadState.CONFIRMED
    prepare(upload)
    assert upload.batch is not None


def uploaded(age: timedelta) -> BatchUpload:
    upload = prepare(BatchUpload.objects.store([json.dumps(asked(0)).encode()], name="requests.jsonl"))
    BatchUpload.objects.filter(pk=upload.pk).update(created_at=timezone.now() - age)
    return upload


def test_a_dry_run_empties_no_words(telling: ClaudeEmulator) -> None:
    by_a_pause(telling)
    let_a_month_pass()
    services.purge(dry_run=True)
    assert "JobRun.pause_reason" in where(WORD)


def test_what_the_timeline_tells_in_numbers_stays(telling: ClaudeEmulator) -> None:
    batch = services.advance(services.submit(ready()))
    telling.finish()
    services.advance(batch)
    before = list(batch.events.order_by("pk").values_list("what", "text"))
    let_a_month_pass()
    services.purge()
    assert list(batch.events.order_by("pk").values_list("what", "text"))[: len(before)] == before
