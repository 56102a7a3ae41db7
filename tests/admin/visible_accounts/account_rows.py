"""Rows of two accounts, their pages, and a site that is limited to some accounts."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import path, reverse
from django.utils import timezone

from django_claude_batches.admin import AccountStateAdminMixin, MessageBatchAdminMixin
from django_claude_batches.models import (
    AccountState,
    BatchUpload,
    DeliveryChunk,
    JobRun,
    MessageBatch,
    RunState,
    State,
)
from tests.admin.admin_pages import (
    ACCOUNTS,
    BATCHES,
    REQUESTS,
    RESULTS,
    RUNS,
    USAGE,
    in_state,
    ingest,
    park,
    url,
)
from tests.harness.factories import draft, item

OURS, THEIRS = "default", "zebra"
JOBS = "/admin/django_claude_batches/jobrun/jobs/"
MODELS = (BATCHES, RUNS, RESULTS, REQUESTS, ACCOUNTS)


def use_urls_of(site: admin.AdminSite, settings: Any) -> None:
    settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": [path("admin/", site.urls)]})


def compose(settings: Any, **accounts: Any) -> None:
    """Register pages of which each returns these accounts, by model."""
    mixins = {"MessageBatch": MessageBatchAdminMixin, "AccountState": AccountStateAdminMixin}
    for name, found in accounts.items():
        members = {"visible_accounts": lambda self, request, found=found: found}
        model = {"MessageBatch": MessageBatch, "AccountState": AccountState}[name]
        admin.site.unregister(model)
        admin.site.register(model, type(name, (mixins[name], admin.ModelAdmin), members))
    use_urls_of(admin.site, settings)


def client_of(*accounts: str, username: str = "grace", superuser: bool = False) -> Client:
    """Return a client of a user with all permissions for these accounts."""
    user = User.objects.create_user(username, is_staff=True, is_superuser=superuser)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="django_claude_batches"))
    user.groups.set([Group.objects.get_or_create(name=name)[0] for name in accounts])
    client = Client()
    client.force_login(user)
    return client


def make_rows(account: str, job_name: str) -> dict[str, list[Any]]:
    """Create rows of each kind, in each state on which a notice, a filter or a count depends. Return them by page."""
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
    usage = [url(USAGE, name) + f"?by={by}" for name in ("changelist", "export") for by in ("account", "job")]
    return ["/admin/", *map(url, MODELS), *usage, url(BATCHES, "add"), JOBS, start]


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
