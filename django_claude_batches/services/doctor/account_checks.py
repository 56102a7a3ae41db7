"""Check that an account's key is accepted, and that nothing holds the account back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from urllib.parse import urlsplit

from django.utils import timezone

from django_claude_batches import conf, wire
from django_claude_batches.client import BatchesClient, Reply
from django_claude_batches.exceptions import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    InternalServerError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    SpendLimitReached,
)
from django_claude_batches.models import AccountState
from django_claude_batches.services.audits.orphans import other_workspace
from django_claude_batches.services.connection import client_of
from django_claude_batches.services.doctor.report import Diagnosis, DiagnosisBuilder

REMEDIES: tuple[tuple[tuple[type[APIError], ...], str], ...] = (
    (
        (PaymentRequiredError, PermissionDeniedError),
        "In Anthropic's Console, look at the billing, and at what the key's Workspace may do.",
    ),
    ((RateLimitError,), "Nothing: sending and polling wait for as long as they are asked to."),
    ((SpendLimitReached,), "Raise the limit in Anthropic's Console."),
    (
        (InternalServerError, APIResponseValidationError),
        "If {host} is right: it is temporary; see Anthropic's status page. What is due waits.",
    ),
    ((APIConnectionError,), "Look at BASE_URL ({host}), at the network, at HTTPS_PROXY, and at certificates."),
)


def check_account(alias: str, *, offline: bool, rows_are_there: bool) -> Iterator[Diagnosis]:
    """Check the key by listing one batch, which is free, unless `offline`; then check the account's row."""
    subject = DiagnosisBuilder(alias)
    try:
        account, client = conf.account(alias), client_of(alias)
    except conf.ConfigurationError as error:
        yield subject.failed("key", str(error), "Then restart the workers.")
        yield from _skip_listing(subject, "There is nothing to ask with.")
    else:
        if offline:
            yield subject.ok("key", f"{account.key_setting} is set; whether it is accepted was not asked.")
            yield from _skip_listing(subject, "Not asked: --offline.")
        else:
            yield from _check_listing(subject, account, client, rows_are_there=rows_are_there)
    if rows_are_there:
        yield from _check_state(subject)


def _skip_listing(subject: DiagnosisBuilder, why: str) -> Iterator[Diagnosis]:
    for name in ("listing", "clock"):
        yield subject.skipped(name, why)


def _check_listing(
    subject: DiagnosisBuilder, account: conf.Account, client: BatchesClient, *, rows_are_there: bool
) -> Iterator[Diagnosis]:
    host = urlsplit(account.base_url).netloc
    try:
        reply = client.page(limit=1)
    except APIError as error:
        yield _key(subject, account, error)
        yield _listing(subject, error, host)
        yield subject.skipped("clock", "There was no good answer.")
        return
    answered_at = timezone.now()
    yield subject.ok("key", f"{account.key_setting} is accepted.")
    yield subject.ok("listing", f"{host} lists batches.")
    yield _clock(subject, reply.date, answered_at)
    if rows_are_there:
        yield from _workspace(subject, reply)


def _key(subject: DiagnosisBuilder, account: conf.Account, error: APIError) -> Diagnosis:
    if isinstance(error, AuthenticationError):
        remedy = f"Put a key that is valid into {account.key_setting}, restart the workers, and `claude_batches resume "
        return subject.failed("key", f"{account.key_setting} is refused: {error}", f"{remedy}{subject.about}`.")
    # Only errors of the API have a type. A proxy's refusal says nothing about the key.
    if isinstance(error, APIStatusError) and error.type and not isinstance(error, InternalServerError):
        return subject.ok("key", f"{account.key_setting} is known to Anthropic.")
    return subject.skipped("key", f"{account.key_setting} is set; whether it is accepted was not answered.")


def _listing(subject: DiagnosisBuilder, error: APIError, host: str) -> Diagnosis:
    if isinstance(error, AuthenticationError):
        return subject.skipped("listing", "Not with this key.")
    remedy = next((words for kinds, words in REMEDIES if isinstance(error, kinds)), "Look at what it says.")
    judge = subject.warning if isinstance(error, RateLimitError) else subject.failed
    return judge("listing", str(error), remedy.format(host=host))


def _clock(subject: DiagnosisBuilder, date: datetime | None, answered_at: datetime) -> Diagnosis:
    if date is None:
        return subject.skipped("clock", "The answer had no Date header.")
    remedy = (
        "Set it by NTP. How often a batch is polled, and what the audit passes over, go by this clock; leases and due "
        "times go by the database's."
    )
    return subject.from_clocks("clock", answered_at - date, "This machine's", "Anthropic's", remedy)


def _workspace(subject: DiagnosisBuilder, reply: Reply[wire.Page]) -> Iterator[Diagnosis]:
    if not reply.workspace_id:
        yield subject.skipped("workspace", "The answer does not say which one the key acts in.")
        return
    for finding in other_workspace(subject.about, reply.workspace_id):
        yield subject.failed("workspace", finding.words, finding.remedy)
        return
    yield subject.ok("workspace", f"The key acts in {reply.workspace_id}.")


def _check_state(subject: DiagnosisBuilder) -> Iterator[Diagnosis]:
    alias, name = subject.about, conf.installation()
    states = AccountState.objects.primary().filter(alias=alias)
    if (state := states.first()) is not None and state.belongs_to_other_installation(name):
        words = (
            f'Its batches are "{state.installation}"\'s, and the settings say "{name}": this may be a copy, and rests.'
        )
        yield subject.failed(
            "copy", words, f"If it is no copy: `claude_batches confirm-installation {alias}`. If it is: nothing."
        )
    slow = states.slow().first()
    if slow is None:
        yield subject.ok("speed", "Its server has answered in time.")
    else:
        words = (
            f"Since {slow.slow_since:%Y-%m-%d %H:%M:%S} UTC calls have run into their time limits, the last one at "
            f"{slow.slow_at:%H:%M:%S}: one worker at a time works for it, so that the other accounts go on."
        )
        remedy = "Look at its server and the network. Where it needs longer, raise its TIMEOUTS and TOTAL_TIMEOUT."
        yield subject.warning("speed", words, remedy)
    paused = states.paused().first()
    if paused is None:
        yield subject.ok("sending", "It is not paused.")
    elif paused.paused_until is None:
        words = f"Paused, so nothing is sent: {paused.pause_reason}"
        yield subject.failed("sending", words, f"When that is fixed: `claude_batches resume {alias}`.")
    else:
        words = f"Paused until {paused.paused_until:%Y-%m-%d %H:%M:%S} UTC: {paused.pause_reason}"
        yield subject.warning("sending", words, "Nothing: it resumes automatically.")
