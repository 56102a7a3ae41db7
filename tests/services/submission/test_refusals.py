"""Whose a refused create call was: the account is paused and its batches wait, or the batch is refused."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.exceptions import APIStatusError
from django_claude_batches.models import AccountState, MessageBatch, RunState, State
from django_claude_batches.services import engine
from django_claude_batches.services.account_pauses import pause
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, item, make_due
from tests.harness.relay import Exchange, Relay, refuse
from tests.harness.selections import slow_but
from tests.harness.shop import drive, job, let_time_come, over, reviews, submit_pending

pytestmark = [pytest.mark.django_db, pytest.mark.database]

OF_THE_ACCOUNT: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in ("credit_too_low", "human_review_disabled", "encryption_key_disabled")},
    **{name: (name, {}) for name in ("key_creator_gone", "on_hold", "spend_limit", "spend_cap", "billing")},
    **{name: (name, {}) for name in ("key_refused", "access_refused", "refusal")},
    "cmek_key_network_blocked": ("refusal", {"code": "cmek_key_network_blocked", "message": "No."}),
    "no billing for a linked one": ("refusal", {"status": 402, "code": "linked_organization_billing_unavailable"}),
    "egress": ("refusal", {"status": 403, "code": "sandbox_egress_restricted", "message": "No."}),
}


def tick() -> None:
    for batch in MessageBatch.objects.order_by("pk"):
        make_due(batch)
    engine.tick(engine.advance_if_due)


def creates(claude: ClaudeEmulator) -> int:
    return sum(request.method == "POST" for request in claude.requests)


def is_paused() -> bool:
    return AccountState.objects.paused().exists()


@pytest.mark.parametrize("name", slow_but(4, OF_THE_ACCOUNT))
def test_an_account_is_paused_and_all_goes_out_when_it_is_resumed(claude: ClaudeEmulator, name: str) -> None:
    batches = [services.submit(draft(1)) for _ in range(3)]
    fault, options = OF_THE_ACCOUNT[name]
    claude.fault(fault, on="create", times=None, **options)
    tick()
    tick()
    assert creates(claude) == 1, "one is refused, and the others are not even tried"
    assert is_paused()
    for batch in batches:
        batch.refresh_from_db()
        assert (batch.state, batch.next_action_at is None) == (State.QUEUED, False)
    claude.clear_faults()
    assert services.resume("default") == 3
    tick()
    assert set(MessageBatch.objects.values_list("state", flat=True)) == {State.IN_PROGRESS}
    assert len(claude.batches) == 3


@pytest.mark.parametrize("name", slow_but(4, OF_THE_ACCOUNT))
def test_a_listing_that_is_so_refused_pauses_too(claude: ClaudeEmulator, name: str) -> None:
    batch = services.submit(draft(1))
    fault, options = OF_THE_ACCOUNT[name]
    claude.fault(fault, on="list", times=None, **options)
    for _ in range(2):  # nothing of the batch was in it, so no words reject it
        services.advance(batch)
        assert (batch.state, is_paused(), creates(claude)) == (State.QUEUED, True, 0)
        services.resume("default")
    claude.clear_faults()
    assert services.advance(batch).state == State.IN_PROGRESS


@pytest.mark.parametrize(
    ("status", "code"),
    slow_but(
        2,
        [
            (403, "user_profile_not_billable"),
            (403, "user_profile_billing_not_authorized"),
            (400, "user_profile_required"),
            (400, "user_profile_not_found"),
        ],
    ),
)
def test_what_is_wrong_with_a_user_profile_is_the_batchs(claude: ClaudeEmulator, status: int, code: str) -> None:
    claude.fault("refusal", on="create", status=status, code=code, message="The billing of this profile…")
    refused, other = services.submit(draft(1, user_profile_id="up_1")), services.submit(draft(1))
    tick()
    refused.refresh_from_db()
    other.refresh_from_db()
    assert (refused.state, other.state, is_paused()) == (State.REJECTED, State.IN_PROGRESS, False)


SPEAKING = [
    "Your billing account is closed.",
    "No credit is left.",
    "You are out of Credits.",
    "The quota is used up",
    "This PLAN has no batches",
    "Organization is unknown",
    "The organisation's administrator has disabled it.",
    "Batches are disabled in this Workspace.",
    "Please see https://console.anthropic.com/settings/plans first",
]
SILENT = [
    "requests: custom_id's must be unique within a batch.",
    "Something is planned, creditable, or accredited.",
    "metadata.plan: Extra inputs are not permitted",
    "requests.0.params.billing: Extra inputs are not permitted",
    "requests.0.params.billing_policy.bill_to: Input should be a valid string",
    "workspace_id: Field required",
]


@pytest.mark.parametrize("message", slow_but(2, [*SPEAKING, *SILENT]))
def test_an_unknown_400_is_judged_by_its_words(claude: ClaudeEmulator, message: str) -> None:
    claude.fault("refusal", on="create", message=message)
    batch = services.advance(services.submit(draft(1)))
    speaks = message in SPEAKING
    assert (batch.state, is_paused()) == ((State.QUEUED, True) if speaks else (State.REJECTED, False))


@pytest.mark.parametrize(
    "message",
    slow_but(
        2,
        [
            "Duplicate custom_id found: {tag}_q-plan-7",
            "custom_id {tag}_billing-credit is one too many",
            "custom_id q-plan-7 is one too many",
            "model: claude-plan-9 cannot be used.",
            'Nobody understands "What is my credit, and what my plan?" here',
            'Unknown key "billing"',
            "The beta workspace-2026-01-01 is over.",
            "Profile up-plan is none",
        ],
    ),
)
def test_our_own_values_are_taken_out(claude: ClaudeEmulator, message: str) -> None:
    asked = [{"role": "user", "content": "What is my credit, and what my plan?"}]
    requests = [
        item(0, model="claude-plan-9", messages=asked) | {"custom_id": "q-plan-7"},
        item(1, metadata={"billing": 1}) | {"custom_id": "billing-credit"},
        item(2) | {"custom_id": "plan"},
    ]
    batch = MessageBatch.objects.create_draft(
        requests, betas=["workspace-2026-01-01"], user_profile_id="up-plan", label="Plans and quotas"
    )

    def rule(exchange: Exchange) -> None:
        tag = exchange.body.decode().partition('"custom_id":"')[2].partition("_")[0]
        refuse(400, "invalid_request_error", message.format(tag=tag))(exchange)

    with Relay(claude.url) as relay:
        relay.on("POST", "/batches", rule)
        services.advance(services.submit(batch))
    assert (batch.state, is_paused()) == (State.REJECTED, False)


def test_a_custom_id_that_is_a_common_word_hides_nothing(claude: ClaudeEmulator) -> None:
    """On the wire it has a tag before it: a bare "plan" is not that."""
    batch = MessageBatch.objects.create_draft([item(0) | {"custom_id": "plan"}])
    claude.fault("refusal", on="create", message="Your plan has no batches.")
    services.advance(services.submit(batch))
    assert (batch.state, is_paused()) == (State.QUEUED, True)


def test_the_same_words_after_a_resume_reject_that_batch_and_pause_nobody(claude: ClaudeEmulator) -> None:
    """One batch that is refused so again and again must not stop all others each time."""
    odd = services.submit(draft(1, user_profile_id="up_odd"))
    message = "Your plan has no such profile, said request {} of {}."

    def rule(exchange: Exchange) -> None:
        if "anthropic-user-profile-id" not in {name.lower() for name in exchange.headers}:
            exchange.reply = exchange.forward()
            return
        calls.append(exchange.path)
        refuse(400, "invalid_request_error", message.format(len(calls), timezone.now()))(exchange)

    calls: list[str] = []
    with Relay(claude.url) as relay:
        relay.on("POST", "/batches", rule)
        services.advance(odd)
        assert (odd.state, is_paused()) == (State.QUEUED, True)
        assert odd.events.get(what="account_paused").text.startswith("Your plan has no such profile, said request of")
        others = [services.submit(draft(1)) for _ in range(2)]
        services.resume("default")
        tick()
        assert not is_paused()
        odd.refresh_from_db()
        assert odd.state == State.REJECTED
        assert "Your plan has no such profile" in odd.last_error
        for other in others:
            other.refresh_from_db()
            assert other.state == State.IN_PROGRESS
        message = "Another quota."
        services.advance(services.submit(odd))
        assert (odd.state, is_paused()) == (State.QUEUED, True), "other words pause again"
    assert len(calls) == 3


def test_a_pause_by_words_waits_for_a_person_whenever_the_answer_says_to_come_back(claude: ClaudeEmulator) -> None:
    """Else one batch could pause everybody again and again, and never be rejected."""
    batch = services.submit(draft(1))
    claude.fault("refusal", on="create", message="The quota is used up.", retry_after=60, times=2)
    services.advance(batch)
    assert (batch.state, AccountState.objects.paused().get().paused_until) == (State.QUEUED, None)
    services.resume("default")
    assert services.advance(batch).state == State.REJECTED


def test_a_refusal_for_a_while_does_not_lift_a_pause_that_waits_for_a_person(claude: ClaudeEmulator) -> None:
    first, second = services.submit(draft(1)), services.submit(draft(1))
    claude.fault("refusal", on="create", message="The quota is used up.")
    services.advance(first)
    reason = AccountState.objects.get().pause_reason
    pause("default", APIStatusError("Later.", status_code=403, retry_after=60))  # of a call that was on its way then
    state = AccountState.objects.paused().get()
    assert (state.paused_until, state.pause_reason) == (None, reason)
    assert services.advance(second).state == State.QUEUED


def test_what_the_table_knows_as_the_accounts_never_rejects(claude: ClaudeEmulator) -> None:
    batch = services.submit(draft(1))
    claude.fault("credit_too_low", on="create", times=None)
    for _ in range(3):
        services.advance(batch)
        assert (batch.state, is_paused()) == (State.QUEUED, True)
        services.resume("default")
    claude.clear_faults()
    assert services.advance(batch).state == State.IN_PROGRESS


@pytest.mark.slow
@pytest.mark.parametrize("name", slow_but(1, ["credit_too_low", "human_review_disabled", "refusal"]))
def test_a_run_of_a_job_gets_no_rejected_batch(claude: ClaudeEmulator, settings: Any, name: str) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "MAX_IN_FLIGHT_REQUESTS": 2}
    reviews(6)
    run = job().start()
    claude.fault(name, on="create", times=None)
    drive(run.pk)
    submit_pending()
    tick()
    states = set(run.batches.values_list("state", flat=True))
    assert states == {State.QUEUED, State.DRAFT}
    assert is_paused()
    claude.clear_faults()
    services.resume("default")
    let_time_come()
    over(run, claude)
    run.refresh_from_db()
    assert run.state == RunState.FINISHED
    assert len(claude.batches) == 3


def test_a_page_of_a_proxys_leaves_a_create_unconfirmed(claude: ClaudeEmulator) -> None:
    """It may have gone through it; an error is the API's only in the API's envelope."""
    claude.fault("html", on="create", status=400, happens=True)
    batch = services.advance(services.submit(draft(1)))
    assert (batch.state, is_paused()) == (State.UNCERTAIN, False)
