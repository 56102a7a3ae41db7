"""Errors of project code are shown by permission, on each page, list, card and notice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.http import HttpResponseBase
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from django_claude_batches import job_registry, services
from django_claude_batches.error_text import format_with_traceback
from django_claude_batches.models import (
    AccountState,
    BatchUpload,
    DeliveryChunk,
    FailedDelivery,
    JobRun,
    MessageBatch,
    State,
)
from django_claude_batches.services.delivery.deliver import deliver_if_due
from django_claude_batches.services.runs.drive import drive
from django_claude_batches.signals import results_ingested
from django_claude_batches.testing import ClaudeEmulator, always
from tests.admin.admin_pages import ACCOUNTS, BATCHES, REQUESTS, RESULTS, RUNS, url
from tests.harness.factories import draft, running
from tests.harness.library.models import Review
from tests.harness.selections import slow_but
from tests.harness.shop import fetched, job, let_time_come, over, reviews

# Texts of an answer, of a prompt, and of the reason why an account is paused.
ANSWER, PROMPT, PAUSE = "seven-of-hearts", "nine-of-clubs", "ace-of-spades"

# An error of the API about a batch: operators see it.
API = "too-many-cards"

BOTH = ("view_batchrequest", "view_batchresult")
# Permissions of operators.
PAGES = ("view_messagebatch", "view_jobrun", "start_jobrun")

pytestmark = pytest.mark.django_db


@dataclass
class Everything:
    """Rows with each secret in each place that can contain it."""

    addresses: list[str]
    actions: list[tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def everything(django_db_setup: None, django_db_blocker: Any) -> Iterator[Everything]:
    with django_db_blocker.unblock(), override_settings(CLAUDE_BATCHES={"KICK": False, "ANNOUNCE_ATTEMPTS": 1}):
        around = transaction.atomic()
        around._from_testcase = True  # type: ignore[attr-defined]
        with around:
            try:
                yield made()
            finally:
                transaction.set_rollback(True)
                job_registry.unregister("of-prompts")
                job_registry.unregister("tag-reviews")


def made() -> Everything:
    batch, batches = a_receiver_raises(), [refused(), waiting_after_an_error()]
    runs = [a_handler_raises(), a_prompt_raises(), a_delivery_is_stuck()]
    account, _made = AccountState.objects.update_or_create(
        alias="default", defaults={"paused_at": timezone.now(), "pause_reason": f"Anthropic answered 402: {PAUSE}."}
    )
    upload = BatchUpload.objects.store([b"x"], name="requests.jsonl")
    BatchUpload.objects.filter(pk=upload.pk).update(last_error=format_with_traceback(ValueError(PROMPT)))
    of_a_job = runs[0].batches.get()
    result = of_a_job.results.get()
    rows = {
        BATCHES: [batch.pk, of_a_job.pk, *(row.pk for row in batches)],
        RUNS: [run.pk for run in runs],
        RESULTS: [result.pk],
        REQUESTS: [result.request_id],
        ACCOUNTS: [account.pk],
    }
    names = ("change", "history", "delete")
    addresses = ["/admin/", reverse("admin:app_list", args=["django_claude_batches"])]
    addresses += [f"{url(model)}{query}" for model in rows for query in ("", f"?batch={of_a_job.pk}", "?q=seven")]
    addresses += [url(model, name, pk) for model, pks in rows.items() for pk in pks for name in names]
    addresses += [url(model, "card", pk) for model in (BATCHES, RUNS) for pk in rows[model]]
    addresses += [f"{url(RUNS)}?attention=yes", f"{url(BATCHES)}?attention=yes", f"{url(BATCHES)}?run={runs[0].pk}"]
    addresses += [url(BATCHES, "add"), url(BATCHES, "upload", upload.pk), url(RESULTS, "export", of_a_job.pk)]
    addresses += [url(RUNS, "jobs"), url(RUNS, "start", "of-prompts"), url(RUNS, "start", "tag-reviews")]
    verbs = {BATCHES: MessageBatch, RUNS: JobRun, ACCOUNTS: AccountState}
    actions = [
        (url(model), {"action": action, "_selected_action": rows[model]})
        for model in verbs
        for action in ACTIONS[model].split()
    ]
    return Everything(addresses, actions)


ACTIONS = {
    BATCHES: "submit take_back cancel delete_remote check announce_again reingest retry identify delete_selected",
    RUNS: "pause resume cancel retry redeliver_failed redeliver delete_selected",
    ACCOUNTS: "resume confirm",
}


def a_receiver_raises() -> MessageBatch:
    def receiver(batch: MessageBatch, **kwargs: Any) -> None:
        raise ValueError(f"not a number: {batch.results.first().text}")  # type: ignore[union-attr]

    results_ingested.connect(receiver)
    try:
        with ClaudeEmulator(replies=always(ANSWER)) as claude:
            batch = running(1)
            claude.finish()
            services.advance(batch)
    finally:
        results_ingested.disconnect(receiver)
    assert ANSWER in batch.last_error
    assert ANSWER in batch.events.get(what="announcing_failed").text
    return batch


def refused() -> MessageBatch:
    with ClaudeEmulator() as claude:
        claude.fault("refusal", on="create", message=API)
        return services.advance(services.submit(draft(1)))


def waiting_after_an_error() -> MessageBatch:
    """Its explanation, also a tooltip of the list, contains its error."""
    batch = services.submit(draft(1))
    MessageBatch.objects.filter(pk=batch.pk).update(last_error=format_with_traceback(ValueError(PROMPT)), failures=3)
    return batch


def a_handler_raises() -> JobRun:
    def on_result(self: Any, review: Review, result: Any) -> None:
        int(result.text)

    def on_finished(self: Any, run: JobRun) -> None:
        raise KeyError(ANSWER)

    reviews(1)
    with ClaudeEmulator(replies=always(ANSWER)) as claude:
        run = over(job(on_result=on_result, on_finished=on_finished).start(), claude)
    assert ANSWER in run.last_error
    assert FailedDelivery.objects.filter(batch__run=run, error__contains=ANSWER).exists()
    return run


def a_prompt_raises() -> JobRun:
    def get_prompt(self: Any, review: Review) -> str:
        raise LookupError(PROMPT)

    run = job("of-prompts", get_prompt=get_prompt).start()
    drive(run.pk)
    run.refresh_from_db()
    assert PROMPT in run.pause_reason
    return run


def a_delivery_is_stuck() -> JobRun:
    """Its run is paused with the last error of the delivery."""
    Review.objects.all().delete()
    reviews(1)
    with ClaudeEmulator() as claude:
        run = job(allow_overlap=True).start()
        fetched(run, claude)
    DeliveryChunk.objects.filter(batch__run=run).update(
        failures=6, last_error=format_with_traceback(ValueError(ANSWER))
    )
    let_time_come()
    for pk in DeliveryChunk.objects.filter(batch__run=run).values_list("pk", flat=True):
        deliver_if_due(pk)
    run.refresh_from_db()
    assert ANSWER in run.pause_reason
    return run


def client_of(*codenames: str) -> Client:
    user = User.objects.create_user("-".join(codenames)[:150] or "none", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="django_claude_batches", codename__in=codenames)
    )
    client = Client()
    client.force_login(user)
    return client


def text_of(response: HttpResponseBase) -> str:
    return b"".join(response).decode(errors="replace")  # type: ignore[call-overload,no-any-return]


def shown_to(everything: Everything, *codenames: str) -> dict[str, str]:
    """Return the pages, confirmation pages and messages that a user with these permissions sees, by URL."""
    client = client_of(*codenames)
    shown = {address: text_of(client.get(address)) for address in everything.addresses}
    for address, data in everything.actions:
        shown[f"{address} {data['action']}"] = text_of(client.post(address, data, follow=True))
    return shown


def places(shown: dict[str, str], secret: str) -> list[str]:
    return [address for address, text in shown.items() if secret in text]


def all_permissions() -> list[str]:
    metas = [model._meta for model in apps.get_app_config("django_claude_batches").get_models()]
    by_default = {f"{name}_{meta.model_name}" for meta in metas for name in meta.default_permissions}
    return sorted(by_default | {codename for meta in metas for codename, _name in meta.permissions})


def check(everything: Everything, *codenames: str) -> None:
    shown = shown_to(everything, *codenames)
    may_view = {
        codename.replace("change_", "view_") for codename in codenames
    }  # in Django, permission to change includes viewing
    if not set(BOTH) <= may_view:
        of_results = places(shown, ANSWER) if "view_batchresult" in may_view else []
        assert [place for place in places(shown, ANSWER) if place not in of_results or RUNS in place] == []
        assert not [text for text in shown.values() if "not a number" in text or "invalid literal" in text]
        assert places(shown, PROMPT) == []
    assert bool(places(shown, PAUSE)) == ("view_accountstate" in may_view)
    assert bool(places(shown, API)) == ("view_messagebatch" in may_view)


def test_without_permissions_no_text_is_shown(everything: Everything) -> None:
    shown = shown_to(everything)
    assert [places(shown, secret) for secret in (ANSWER, PROMPT, PAUSE, API)] == [[], [], [], []]


@pytest.mark.parametrize("codename", slow_but(1, [*PAGES, *BOTH, "view_accountstate"]))
def test_a_single_permission(everything: Everything, codename: str) -> None:
    check(everything, codename)


@pytest.mark.slow
@pytest.mark.parametrize("codename", sorted(set(all_permissions()) - {*PAGES, *BOTH, "view_accountstate"}))
def test_each_other_permission(everything: Everything, codename: str) -> None:
    check(everything, codename)


@pytest.mark.slow
@pytest.mark.parametrize("codename", sorted(set(all_permissions()) - {*PAGES}))
def test_each_permission_with_those_of_operators(everything: Everything, codename: str) -> None:
    check(everything, *PAGES, codename)


def test_operators_see_type_and_place(everything: Everything) -> None:
    shown = shown_to(everything, *PAGES)
    assert places(shown, ANSWER) == places(shown, PROMPT) == places(shown, PAUSE) == []
    for address in (url(RUNS, "start", "of-prompts"), url(BATCHES)):
        assert re.search(r"(LookupError|ValueError) at tests\.admin\.test_error_visibility, line \d+", shown[address])
    on_pages = [text for text in shown.values() if "ValueError at tests.admin.test_error_visibility, line " in text]
    assert len(on_pages) > 5
    assert places(shown, "Sending is paused for &quot;default&quot;. Running batches are still fetched.")
    assert str(State.REJECTED.label) in shown[url(BATCHES)]


@pytest.mark.slow
def test_errors_are_shown_to_users_who_may_read_prompts_and_answers(everything: Everything) -> None:
    shown = shown_to(everything, *PAGES, *BOTH, "add_messagebatch")
    found = {secret: set(places(shown, secret)) for secret in (ANSWER, PROMPT)}
    assert {url(BATCHES), url(RUNS, "start", "of-prompts")} <= found[PROMPT]
    assert any("/uploads/" in address for address in found[PROMPT])
    assert any(address.endswith("/card/") and RUNS in address for address in found[PROMPT])
    assert any(address.endswith("/card/") and RUNS in address for address in found[ANSWER])
    assert any(address.endswith("/change/") and BATCHES in address for address in found[ANSWER])
    assert places(shown, PAUSE) == []


@pytest.mark.slow
def test_lookups_do_not_reveal_hidden_texts(everything: Everything) -> None:
    """Neither the rows nor the status of a list reveal whether a guessed text is right."""
    client = client_of("view_messagebatch", "view_jobrun", "view_batchresult", "view_batchrequest")
    guessed = [
        ("last_error", API),
        ("last_error", ANSWER),
        ("pause_reason", PROMPT),
        ("failed_deliveries__error", ANSWER),
        ("failed_delivery__error", ANSWER),
    ]
    for model in (BATCHES, RUNS, RESULTS, REQUESTS):
        for name, right in guessed:
            for how in ("startswith", "gte"):
                for value in (right, "wrong"):
                    found = client.get(url(model), {f"{name}__{how}": value}).status_code
                    assert found == (400 if is_column(model, name) else 302), (model, name, how)


def is_column(model: str, name: str) -> bool:
    known = {
        BATCHES: {"last_error", "failed_deliveries__error"},
        RUNS: {"last_error", "pause_reason"},
        REQUESTS: {"failed_delivery__error"},
    }
    return name in known.get(model, set())
