"""Run all checks of `doctor`: settings, database, accounts, and whether a tick runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from django.db import Error as DatabaseError
from django.db.models import Max

from django_claude_batches import checks, conf
from django_claude_batches.estimates import ExpectedRefusal, ExpectedUsage
from django_claude_batches.models import AccountState, JobRun, MessageBatch
from django_claude_batches.models.batch_state import UNSENT
from django_claude_batches.models.due import is_work_due
from django_claude_batches.models.run_attention import attention, needing_attention
from django_claude_batches.pricing import bundled
from django_claude_batches.services.account_pauses import known_accounts
from django_claude_batches.services.connection import require_no_transaction
from django_claude_batches.services.doctor.account_checks import check_account
from django_claude_batches.services.doctor.database import check_database
from django_claude_batches.services.doctor.report import CheckResult, Diagnosis, DiagnosisBuilder
from django_claude_batches.services.doctor.settings import check_settings

# Batches and runs that need attention and are listed.
MAX_NAMED = 3

# Unsent batches whose models are checked, the newest first.
MAX_UNSENT = 1000


def diagnose(
    account: str | None = None, *, offline: bool = False, progress: Callable[[str], object] | None = None
) -> list[Diagnosis]:
    """Check the settings, the database, the ticks, and an account, or each in use; return the results and remedies.

    Free and read-only. One batch of each account is listed, even if the database may be a copy; with `offline`,
    Anthropic is not called. `progress` is called with what is checked next. What cannot be checked is reported as
    skipped. Must run outside a transaction. Raise ConfigurationError for an account that is not in the settings.
    """
    with contextlib.suppress(DatabaseError):  # if the database is down, a check below reports it
        require_no_transaction("diagnose()")
    say = progress or (lambda _checked_next: None)
    aliases = [] if account is None else [conf.account(account).alias]
    say("the settings")
    found = list(check_settings())
    if _has(found, "settings", CheckResult.FAILED):  # they cannot be read, or would send a key unencrypted
        found.append(DiagnosisBuilder().skipped("accounts", "No key is used while the settings are wrong."))
    say("the database")
    found += check_database(MessageBatch.objects.primary().db)
    rows_are_there = _has(found, "migrations", CheckResult.OK)
    if rows_are_there:
        found += [_ticks(), _worker_clock(), _attention(), *_models()]
    if _has(found, "settings", CheckResult.FAILED):
        return found
    for alias in aliases or _in_use(rows_are_there=rows_are_there):
        say(f"account {alias}")
        found += check_account(alias, offline=offline, rows_are_there=rows_are_there)
    return found


def _has(found: list[Diagnosis], name: str, verdict: CheckResult) -> bool:
    return any(one.name == name and one.verdict == verdict for one in found)


def _in_use(*, rows_are_there: bool) -> list[str]:
    """Return the accounts of the settings (`default` only if it has a key), and those of batches in flight."""
    in_flight = MessageBatch.objects.primary().in_flight()
    known = known_accounts() if rows_are_there else conf.accounts()
    used = [
        alias
        for alias in known
        if (alias in conf.accounts() and (alias != conf.DEFAULT_ACCOUNT or conf.account(alias).key_setting))
        or (rows_are_there and in_flight.filter(account=alias).exists())
    ]
    return used or [conf.DEFAULT_ACCOUNT]


def _ticks() -> Diagnosis:
    whole, accounts = DiagnosisBuilder(), AccountState.objects.primary()
    last = accounts.aggregate(last=Max("last_tick_at"))["last"]
    seen = "No tick ever came by" if last is None else f"The last tick came by at {last:%Y-%m-%d %H:%M:%S} UTC"
    remedy = "Start beat, and a worker on its queue; or run `claude_batches tick --loop`."
    if accounts.ticking().exists():
        return whole.ok("tick", f"{seen}.")
    if is_work_due():
        return whole.failed("tick", f"{seen}, and work is due: nothing is moving.", remedy)
    return whole.warning("tick", f"{seen}. No work is due.", remedy)


def _models() -> Iterator[Diagnosis]:
    """Check the models of jobs and unsent batches: whether they retire, and which parameters they refuse."""
    whole, prices = DiagnosisBuilder(), bundled()
    waiting = MessageBatch.objects.primary().filter(state__in=UNSENT, expected_usage__isnull=False).order_by("-pk")
    found = {said for _job, said in checks.about_models()}
    refused = []
    for pk, usage, betas in waiting.values_list("pk", "expected_usage", "betas")[:MAX_UNSENT]:
        expected = ExpectedUsage(usage or ())
        found.update(said for kind in expected.kinds if (said := prices.retirement(kind.model)))
        refused.append((f"#{pk}", expected.refusals(betas)))
    warnings = [*sorted(found), *sorted(map(str, ExpectedRefusal.added_up(refused)))]
    for said in warnings:
        yield whole.warning("models", f"{said}.", "Change it in the jobs and in the batches that are not sent.")
    if not warnings:
        yield whole.ok(
            "models",
            "No model of a job or of an unsent batch retires within 30 days or is known to refuse a request.",
        )


def _worker_clock() -> Diagnosis:
    """Compare the clock of the worker that ran the last tick with the database's clock: each tick records both."""
    whole = DiagnosisBuilder()
    if checks.about_time_zone(AccountState.objects.primary().db):
        return whole.skipped("worker_clock", "The database's times are read in the wrong zone: see its clock.")
    ticks = AccountState.objects.primary().filter(tick_began_at__isnull=False).order_by("tick_began_at")
    last = ticks.values_list("tick_began_at", "tick_clock_at").last()
    began_at, clock_at = last or (None, None)
    if began_at is None or clock_at is None:
        return whole.skipped("worker_clock", "No worker took a tick yet.")
    remedy = (
        "Set both by NTP. Ticks, leases and due times go by the database's clock, so all work is done; how often a "
        "batch is polled goes by the worker's. A message of yours that has `expires` may be dropped there in silence."
    )
    clock = "That of the worker of the last tick"
    return whole.from_clocks("worker_clock", clock_at - began_at, clock, "the database's", remedy)


def _attention() -> Diagnosis:
    """List the newest batches and runs that need attention."""
    whole = DiagnosisBuilder()
    batches = MessageBatch.objects.primary().needing_attention().order_by("-pk")
    runs = needing_attention(JobRun.objects.primary()).order_by("-pk")
    found = [f"batch {batch}: {batch.attention()}" for batch in batches[:MAX_NAMED]]
    found += [f"run {run}: {attention(run)}" for run in runs[:MAX_NAMED]]
    if not found:
        return whole.ok("attention", "No batch and no run needs attention.")
    return whole.warning(
        "attention",
        f"{batches.count():,} batches and {runs.count():,} runs need attention, the newest first: {' '.join(found)}",
        "Look at each: the admin's filter *needs attention* lists them, and `claude_batches status ID` says more.",
    )
