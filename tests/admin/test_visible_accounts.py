"""A user of one account: nothing of another one is seen, counted, found, linked, exported or acted upon.

The admin is that of the example in docs/how-to/compose-the-admin.md: users see the accounts named like their groups.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse
from django.utils import timezone

from django_claude_batches import job_registry
from django_claude_batches.admin import AccountStateAdminMixin, MessageBatchAdmin, MessageBatchAdminMixin
from django_claude_batches.admin.pages.read_only import MirrorAdminMixin
from django_claude_batches.admin.runs.preview import Seen
from django_claude_batches.admin.runs.start_form import StartForm
from django_claude_batches.models import (
    AccountState,
    BatchUpload,
    DeliveryChunk,
    JobRun,
    MessageBatch,
    RunState,
    State,
)
from django_claude_batches.services import scheduled
from tests.admin.admin_pages import (
    ACCOUNTS,
    BATCHES,
    REQUESTS,
    RESULTS,
    RUNS,
    STILL,
    act,
    in_state,
    ingest,
    page,
    park,
    said,
    url,
)
from tests.admin.base.test_query_plans import PAGES, complaints, large, plans
from tests.harness.factories import draft, item
from tests.harness.selections import slow_but
from tests.harness.shop import job

pytestmark = pytest.mark.django_db

__all__ = ["large"]  # the fixture

OURS, THEIRS = "default", "zebra"
JOBS = "/admin/django_claude_batches/jobrun/jobs/"
MODELS = (BATCHES, RUNS, RESULTS, REQUESTS, ACCOUNTS)
DOC = Path(__file__).parents[2] / "docs/how-to/compose-the-admin.md"


@pytest.fixture
def registry() -> Iterator[None]:
    """Restore the pages of the site, and the jobs of this module."""
    before = dict(admin.site._registry)
    yield
    admin.site._registry.clear()
    admin.site._registry.update(before)
    for name in ("tag-reviews", "tag-zebras"):
        job_registry.unregister(name)


@pytest.fixture
def example(registry: None, settings: Any) -> None:
    """Execute the documented example; the site's URLs are made anew, with its page."""
    text = DOC.read_text().partition("## Limit users to some accounts")[2]
    code = re.search(r"```\{code-block\} python\n:caption: [^\n]*\n(.*?)```", text, re.DOTALL)
    assert code
    exec(code[1], {"__name__": "reviews.admin"})
    settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {THEIRS: {}}}
    use_urls_of(admin.site, settings)


def use_urls_of(site: admin.AdminSite, settings: Any) -> None:
    settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": [path("admin/", site.urls)]})


def client_of(*accounts: str, username: str = "grace", superuser: bool = False) -> Client:
    """Return a client of a user with all permissions for these accounts."""
    user = User.objects.create_user(username, is_staff=True, is_superuser=superuser)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="django_claude_batches"))
    user.groups.set([Group.objects.get_or_create(name=name)[0] for name in accounts])
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def narrowed(example: None) -> Client:
    return client_of(OURS)


def make_rows(account: str, job_name: str) -> dict[str, list[Any]]:
    """Make rows of each kind, in each state that a notice, a filter or a count is about. Return them by page."""
    now = timezone.now()
    made = {
        state: in_state(draft(2, account=account, kind=f"kind-{account}", label=f"label-{account}"), state)
        for state in (State.QUEUED, State.UNCERTAIN, State.IN_PROGRESS, State.REJECTED)
    }
    made[State.DRAFT] = draft(1, account=account, label=f"draft-{account}")
    MessageBatch.objects.filter(pk=made[State.IN_PROGRESS].pk).update(created_at=now - timedelta(hours=23.5))
    MessageBatch.objects.filter(pk=made[State.REJECTED].pk).update(last_error=f"no {account}", failures=9)
    batch = MessageBatch.objects.create_draft(
        [{**item(number, system=f"prompt-{account}"), "custom_id": f"{account}-{number}"} for number in range(3)],
        account=account,
        kind=f"complete-{account}",
    )
    ingest(batch, text=f"answer-{account}")
    batch.results.filter(result_type="errored").update(error_type=f"error_{account}")
    groups = [{"error_type": f"error_{account}", "count": 1}]
    MessageBatch.objects.filter(pk=batch.pk).update(error_groups=groups)
    run = JobRun.objects.create(
        job=job_name, account=account, label=f"run-{account}", next_action_at=now, exclusive=job_name
    )
    of_run = in_state(draft(2, account=account, kind=job_name), State.INGESTED, run=run, run_attempt=1)
    park(of_run, 1, error=f"LookupError: {account}")
    DeliveryChunk.objects.create(batch=of_run, position=0, last_position=1, failures=6, last_error=f"full {account}")
    paused = JobRun.objects.create(
        job=job_name, account=account, next_action_at=now, paused_at=now, pause_reason=f"Paused {account}."
    )
    JobRun.objects.create(job=job_name, account=account, state=RunState.FINISHED, finished_at=now)
    state = AccountState.objects.create(
        alias=account,
        paused_at=now,
        pause_reason=f"402 {account}",
        slow_at=now,
        slow_since=now,
        audited_at=now,
        audit_findings=3,
    )
    upload = BatchUpload.objects.store([json.dumps(item(0)).encode()], name=f"{account}.jsonl", account=account)
    results = list(batch.results.order_by("pk"))
    return {
        BATCHES: [batch, of_run, *made.values()],
        RUNS: [run, paused],
        RESULTS: results,
        REQUESTS: [result.request for result in results],
        ACCOUNTS: [state],
        "upload": [upload],
    }


@pytest.fixture
def ours(registry: None) -> dict[str, list[Any]]:
    job()
    job("tag-zebras", account=THEIRS)
    return make_rows(OURS, "tag-reviews")


@pytest.fixture
def theirs(ours: Any) -> dict[str, list[Any]]:
    return make_rows(THEIRS, "tag-zebras")


@pytest.fixture
def moved(ours: dict[str, list[Any]], theirs: Any) -> MessageBatch:
    """A draft that retries one of ours, and was moved to their account."""
    batch = draft(1, account=THEIRS, label="moved-zebra")
    MessageBatch.objects.filter(pk=batch.pk).update(parent=ours[BATCHES][0])
    return batch


def queries(rows: dict[str, list[Any]], account: str) -> list[tuple[str, dict[str, Any]]]:
    """Return lists, with each filter and search for rows of the account."""
    batch, run = rows[BATCHES][0].pk, rows[RUNS][0].pk
    terms = [account, f"label-{account}", f"kind-{account}", f"complete-{account}", f"{account}-0", f"#{batch}"]
    terms += [rows[BATCHES][0].anthropic_id or "", "r-0", f"run-{account}"]
    found = [(model, {"q": term}) for model in MODELS for term in terms]
    found += [(BATCHES, {name: value}) for name, value in BATCH_FILTERS.items()]
    found += [(BATCHES, {"account": account}), (BATCHES, {"kind": f"kind-{account}"}), (BATCHES, {"run": run})]
    found += [(RUNS, {"attention": "yes"}), (RUNS, {"state__exact": "drafting"}), (RUNS, {"job": rows[RUNS][0].job})]
    for model in (RESULTS, REQUESTS):
        found += [(model, {"batch": batch}), (model, {"batch": batch, "q": account})]
        found += [(model, {"batch": batch, "outcome": name}) for name in ("errored", "missing", "succeeded")]
    found += [(RESULTS, {"batch": batch, "error_type": f"error_{account}"})]
    return found


BATCH_FILTERS = {"attention": "yes", "nearing": "yes", "age": "1", "state__exact": "queued"}


def addresses(rows: dict[str, list[Any]]) -> list[str]:
    """Return the pages of the rows."""
    names = ("change", "history", "delete")
    found = [url(model, name, row.pk) for model in MODELS for row in rows[model] for name in names]
    found += [url(model, "card", row.pk) for model in (BATCHES, RUNS) for row in rows[model]]
    found += [url(RESULTS, "whole", row.pk, part) for row in rows[RESULTS] for part in ("text", "message", "raw")]
    found += [url(REQUESTS, "whole", row.pk, "params") for row in rows[REQUESTS]]
    found += [url(RESULTS, "export", row.pk) for row in rows[BATCHES]]
    return found + [url(BATCHES, "upload", row.pk) for row in rows["upload"]]


def lists() -> list[str]:
    start = reverse("admin:django_claude_batches_jobrun_start", args=["tag-reviews"])
    return ["/admin/", *map(url, MODELS), url(BATCHES, "add"), JOBS, start]


def shown(client: Client, address: str, **query: Any) -> str:
    """Return the page without what differs at each request."""
    client.cookies.pop("messages", None)  # of an earlier redirect
    response: Any = client.get(address, query)
    text = b"".join(response.streaming_content if response.streaming else [response.content]).decode()
    text = re.sub(r'name="(csrfmiddlewaretoken|shown)" value="[^"]*"', "", text)
    return f"{response.status_code} {response.get('Location', '')} {text}"


def everything_of(client: Client, ours: dict[str, list[Any]]) -> dict[str, str]:
    found = {address: shown(client, address) for address in [*lists(), *addresses(ours)]}
    return found | {f"{model} {query}": shown(client, url(model), **query) for model, query in queries(ours, OURS)}


@pytest.mark.slow
def test_each_page_is_as_if_there_were_no_other_account(narrowed: Client, ours: Any, request: Any) -> None:
    """Texts, links, counts, choices of filters and notices: no character differs when rows of theirs exist."""
    before = everything_of(narrowed, ours)
    request.getfixturevalue("moved")
    after = everything_of(narrowed, ours)
    assert [address for address in before if before[address] != after[address]] == []
    assert not [address for address, text in after.items() if THEIRS in text.replace("q=zebra", "")]
    assert sum(text.startswith("200") for text in before.values()) > 60
    everybody = everything_of(client_of(username="ada", superuser=True), ours)
    assert [address for address in everybody if THEIRS in everybody[address]], "they are there for others"


@pytest.mark.database
@pytest.mark.parametrize("address", slow_but(1, map(url, MODELS)))
def test_lists_and_notices_have_no_row_of_another_account(
    narrowed: Client, ours: Any, request: Any, address: str
) -> None:
    before = shown(narrowed, address)
    request.getfixturevalue("theirs")
    assert shown(narrowed, address) == before
    assert THEIRS not in before
    assert THEIRS in page(client_of(username="ada", superuser=True), address)


@pytest.mark.parametrize("model", slow_but(1, MODELS))
def test_no_page_of_another_accounts_row_opens(narrowed: Client, theirs: Any, model: str) -> None:
    for address in (address for address in addresses(theirs) if f"/{model}/" in address):
        response = narrowed.get(address)
        assert response.status_code in ({403} if address.endswith("/delete/") else set()) | {302, 404}, address
        if response.status_code == 302:  # Django's and ours say that there is no such row
            assert re.search("doesn.t exist|does not exist", said(response)[-1]), address
            assert response.url in {"/admin/", url(BATCHES, "add")}, address


@pytest.mark.parametrize("model", slow_but(1, MODELS))
def test_nothing_of_another_account_is_found_or_filtered(narrowed: Client, theirs: Any, model: str) -> None:
    for query in (query for listed, query in queries(theirs, THEIRS) if listed == model):
        response = narrowed.get(url(model), query)
        assert response.status_code == 200, (model, query)
        rows = response.context["cl"].result_list
        of = {BATCHES: "account", RUNS: "account", ACCOUNTS: "alias"}.get(model)
        assert {getattr(row, of) if of else row.batch.account for row in rows} <= {OURS}, (model, query)
        answer = response.content.decode()
        typed = {str(value) for value in query.values() if THEIRS in str(value)}
        for value in sorted(typed, key=len, reverse=True):
            answer = answer.replace(value, "")
        assert THEIRS not in answer, (model, query)


def test_the_results_of_a_batch_of_another_account_have_no_title_and_no_kinds(narrowed: Client, theirs: Any) -> None:
    filtered = page(narrowed, url(RESULTS), batch=theirs[BATCHES][0].pk)
    assert "kind of error" not in filtered
    assert "of batch" not in filtered


def state_of(account: str) -> list[Any]:
    """Return all columns of the account's rows."""
    batches = MessageBatch.objects.filter(account=account).order_by("pk")
    return [
        list(batches.values()),
        list(batches.values_list("events__pk", "requests__pk", "results__pk")),
        list(JobRun.objects.filter(account=account).order_by("pk").values()),
        list(AccountState.objects.filter(alias=account).values()),
        list(BatchUpload.objects.filter(account=account).values()),
    ]


ANSWERS = {"word": "abandon", "typed_id": "msgbatch_x", "outcomes": ["missing", "errored"], "retries_before": "0"}
ACTIONS = {
    BATCHES: [verb.name for verb in MessageBatchAdmin.verbs],
    RUNS: ["pause", "resume", "resume_without", "cancel", "retry", "redeliver_failed"],
    ACCOUNTS: ["resume", "confirm_installation"],
}
EACH_ACTION = [(model, action) for model, actions in ACTIONS.items() for action in actions]


@pytest.mark.parametrize(("model", "action"), slow_but(3, EACH_ACTION))
@pytest.mark.parametrize("across", slow_but(1, ["0", "1"]))
def test_posted_keys_of_another_account_are_not_acted_upon(
    narrowed: Client, theirs: Any, model: str, action: str, across: str
) -> None:
    before = state_of(THEIRS)
    for confirmed in (False, True):
        response = act(
            narrowed, action, *theirs[model], model=model, confirmed=confirmed, select_across=across, **ANSWERS
        )
        assert response.status_code in {200, 302}
        assert THEIRS not in response.content.decode()
        assert not [text for text in said(response) if THEIRS in text]
    for row in theirs[model]:
        data = {"CHANGE_FORM-action": action, "_selected_action": [row.pk], "confirmed": "yes", **ANSWERS}
        assert narrowed.post(url(model, "change", row.pk), data).status_code == 302
    assert state_of(THEIRS) == before


def test_of_mixed_keys_only_those_of_the_own_account_are_acted_upon(narrowed: Client, ours: Any, theirs: Any) -> None:
    drafts = [rows[BATCHES][-1] for rows in (theirs, ours)]
    before = state_of(THEIRS)
    assert said(act(narrowed, "submit", *drafts)) == ["1 batch is queued and goes out shortly."]
    assert state_of(THEIRS) == before
    drafts[1].refresh_from_db()
    assert drafts[1].state == State.QUEUED


def test_nothing_of_another_account_is_exported(narrowed: Client, ours: Any, theirs: Any) -> None:
    address = url(RESULTS, "export", theirs[BATCHES][0].pk)
    assert narrowed.post(address, {"format": "jsonl"}).status_code == 404
    assert not theirs[BATCHES][0].events.filter(what="exported").exists()
    own: Any = narrowed.post(url(RESULTS, "export", ours[BATCHES][0].pk), {"format": "jsonl"})
    assert b"answer-default" in b"".join(own.streaming_content)


def test_a_draft_is_not_moved_to_another_account(narrowed: Client, ours: Any, theirs: Any) -> None:
    own = ours[BATCHES][-1]
    address = url(BATCHES, "change", own.pk)
    data = {"label": "moved", "kind": "", "account": THEIRS, "betas": ""}
    assert "Select a valid choice" in narrowed.post(address, data).content.decode()
    own.refresh_from_db()
    assert (own.account, own.label) == (OURS, "draft-default")
    narrowed.post(address, {**data, "account": OURS})
    client_of(OURS, THEIRS, username="ida").post(address, data)
    own.refresh_from_db()
    assert (own.account, own.label) == (THEIRS, "moved")


def test_a_file_is_not_uploaded_into_another_account(narrowed: Client, ours: Any) -> None:
    def send(account: str) -> Any:
        file = SimpleUploadedFile("new.jsonl", json.dumps(item(0)).encode())
        return narrowed.post(url(BATCHES, "add"), {"file": file, "account": account})

    assert "Select a valid choice" in send(THEIRS).content.decode()
    assert not BatchUpload.objects.filter(name="new.jsonl").exists()
    assert send(OURS).status_code == 302
    assert BatchUpload.objects.get(name="new.jsonl").account == OURS


@pytest.mark.parametrize("button", ["_draft", "_recheck", "_discard"])
def test_an_uploaded_file_of_another_account_does_not_exist(narrowed: Client, theirs: Any, button: str) -> None:
    [upload] = theirs["upload"]
    scheduled.prepare(upload)
    before = state_of(THEIRS)
    assert THEIRS not in page(narrowed, url(BATCHES, "add"))
    response = narrowed.post(url(BATCHES, "upload", upload.pk), {button: "yes"})
    assert said(response) == ["That file does not exist: it was discarded."]
    assert state_of(THEIRS) == before


def test_a_job_of_another_account_is_not_started(narrowed: Client, ours: Any) -> None:
    start = reverse("admin:django_claude_batches_jobrun_start", args=["tag-zebras"])
    assert narrowed.get(start).status_code == 404
    assert narrowed.post(start, {"_start": "Start", "shown": "x"}).status_code == 404
    assert not JobRun.objects.filter(account=THEIRS).exists()
    assert start in page(client_of(THEIRS, username="ida"), JOBS)


def test_a_run_that_the_job_had_in_another_account_is_not_named(narrowed: Client, theirs: Any) -> None:
    """The job was moved to our account while its run in theirs is active."""
    JobRun.objects.filter(pk=theirs[RUNS][0].pk).update(exclusive="moved", job="moved")
    job("moved")
    try:
        assert url(RUNS, "change", theirs[RUNS][0].pk) not in page(narrowed, JOBS)
        token = StartForm("moved", seen=Seen(1, False))["shown"].value()
        address = reverse("admin:django_claude_batches_jobrun_start", args=["moved"])
        assert said(narrowed.post(address, {"_start": "Start", "shown": token})) == ["It is running already."]
        ida = client_of(OURS, THEIRS, username="ida")
        assert url(RUNS, "change", theirs[RUNS][0].pk) in page(ida, JOBS)
        assert "run-zebra" in said(ida.post(address, {"_start": "Start", "shown": token}))[0]
    finally:
        job_registry.unregister("moved")


def test_a_batch_that_retries_one_of_another_account_does_not_name_it(narrowed: Client, ours: Any, theirs: Any) -> None:
    own = ours[BATCHES][-1]
    MessageBatch.objects.filter(pk=own.pk).update(parent=theirs[BATCHES][0])
    address = url(BATCHES, "change", own.pk)
    assert THEIRS not in page(narrowed, address)
    assert f"complete-{THEIRS}" in page(client_of(OURS, THEIRS, username="ida"), address)


def test_a_second_retry_does_not_name_one_of_another_account(narrowed: Client, ours: Any, moved: Any) -> None:
    response = act(narrowed, "retry", ours[BATCHES][0], **{**ANSWERS, "retries_before": "0"})
    assert "by one that is deleted, or belongs to another account" in response.content.decode()
    assert THEIRS not in response.content.decode()


def test_checks_that_may_name_an_account_are_not_shown(narrowed: Client, settings: Any) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {THEIRS: {"APIKEY": ""}}}
    notice = re.compile("<li class=.warning.>django_claude_batches.E[^<]*zebra")
    assert notice.search(page(client_of(username="ada", superuser=True), url(BATCHES)))
    assert not notice.search(page(narrowed, url(BATCHES)))


def test_due_work_of_another_account_is_not_said_to_stand_still(narrowed: Client) -> None:
    in_state(draft(1, account=THEIRS), State.QUEUED)
    draft(1)
    assert STILL in page(client_of(THEIRS, username="ida"), url(BATCHES))
    assert STILL not in page(narrowed, url(BATCHES))
    AccountState.objects.create(alias=OURS)
    assert STILL not in page(narrowed, url(BATCHES))


def test_a_user_of_no_account_sees_pages_without_rows(example: None, ours: Any) -> None:
    client = client_of()
    for address in lists()[:-1]:
        assert client.get(address).status_code == 200, address
        assert not re.search(r"(label|kind|complete|draft|run)-default", client.get(address).content.decode()), address
    assert client.get(lists()[-1]).status_code == 404
    assert "Sending is paused" not in page(client, url(BATCHES))


def test_two_accounts_are_both_seen_and_a_third_one_is_not(example: None, ours: Any, theirs: Any) -> None:
    draft(1, account="third", label="label-third")
    text = page(client_of(OURS, THEIRS), url(BATCHES))
    assert "label-default" in text
    assert "label-zebra" in text
    assert "third" not in text


def test_the_method_is_called_once_for_a_page(narrowed: Client, ours: Any) -> None:
    for address in (url(BATCHES), url(BATCHES, "change", ours[BATCHES][0].pk), url(RESULTS), JOBS):
        page(narrowed, address)
        with CaptureQueriesContext(connection) as captured:
            page(narrowed, address)
        asked = [entry["sql"] for entry in captured if "auth_user_groups" in entry["sql"] and "name" in entry["sql"]]
        assert len([sql for sql in asked if "permission" not in sql]) == 1, address


def test_without_a_limit_no_condition_and_no_join_is_added(example: None) -> None:
    def queries(superuser: bool) -> dict[str, Any]:
        request = RequestFactory().get("/")
        request.user = User.objects.create_user(f"user-{superuser}", is_superuser=superuser)
        pages = [own for own in admin.site._registry.values() if isinstance(own, MirrorAdminMixin)]
        return {own.opts.model_name: own.get_queryset(request).query for own in pages}

    for name, query in queries(superuser=True).items():
        tables = {name: table for name, table in query.alias_map.items() if table.join_type != "LEFT OUTER JOIN"}
        assert (query.where.children, len(tables)) == ([], len(tables) and 1), name
    assert all(query.where.children for query in queries(superuser=False).values())


def compose(settings: Any, **accounts: Any) -> None:
    """Register pages of which each returns these accounts, by model."""
    mixins = {"MessageBatch": MessageBatchAdminMixin, "AccountState": AccountStateAdminMixin}
    for name, found in accounts.items():
        members = {"visible_accounts": lambda self, request, found=found: found}
        model = {"MessageBatch": MessageBatch, "AccountState": AccountState}[name]
        admin.site.unregister(model)
        admin.site.register(model, type(name, (mixins[name], admin.ModelAdmin), members))
    use_urls_of(admin.site, settings)


def test_of_several_pages_the_accounts_that_all_return_are_seen(registry: None, settings: Any, theirs: Any) -> None:
    draft(1, account="third", label="label-third")
    compose(settings, MessageBatch=[OURS, THEIRS], AccountState={THEIRS, "third"})
    text = page(client_of(), url(BATCHES))
    assert "label-zebra" in text
    assert "label-default" not in text
    assert "label-third" not in text


def test_a_text_instead_of_a_collection_is_refused(registry: None, settings: Any) -> None:
    compose(settings, MessageBatch="default")
    with pytest.raises(TypeError, match="must return a collection of aliases or None, not the text 'default'"):
        client_of().get(url(RUNS))


def test_another_site_is_not_limited(example: None, settings: Any, ours: Any, theirs: Any) -> None:
    plain = admin.AdminSite()
    plain.register(MessageBatch, MessageBatchAdmin)
    client = client_of(OURS)
    assert THEIRS not in page(client, url(BATCHES))
    use_urls_of(plain, settings)
    assert THEIRS in page(client, url(BATCHES))


@pytest.mark.database
@pytest.mark.parametrize("others", slow_but(1, [THEIRS, OURS]))
def test_each_list_of_one_account_is_answered_by_indexes(
    registry: None, settings: Any, root: Client, large: MessageBatch, others: str
) -> None:
    """Where it has few of the rows, and where it has all of them."""
    MessageBatch.objects.exclude(pk=large.pk).update(account=others)
    compose(settings, MessageBatch=[OURS])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    for model, query in PAGES:
        named = {name: large.pk if value == "large" else value for name, value in query.items()}
        for sql, plan in plans(root, url(model), **named):
            assert not complaints(plan), (model, query, sql[-400:])
