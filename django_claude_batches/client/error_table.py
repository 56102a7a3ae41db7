"""Map the API's errors to exception classes, and to what they are about: the account, the batch, or neither.

The first matching row counts: an error's code decides before its message, that before its status, and the status before
its type. The table is closed: an error without a row leaves it open whether anything was done. Rows for refusals match
no 408, no 409 and no 5xx, whatever their code or type: there the call may have been carried out.

Sources are sections of docs/reference/wire.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from django_claude_batches.exceptions import (
    About,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    OverloadedError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    SpendLimitReached,
)

MAY_HAVE_WORKED = frozenset({408, 409})
OVERLOADED = 529


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """Conditions for an error; `code` may end with `*`. Without a `status`, any refusal matches."""

    about: About
    kind: type[APIStatusError]
    source: str
    status: int | None = None
    code: str = ""
    type: str = ""
    beginning: str = ""

    def matches(self, status: int, code: str, type_: str, message: str) -> bool:
        if not (is_refusal(status) if self.status is None else status == self.status):
            return False
        if self.code:
            return code.startswith(self.code[:-1]) if self.code.endswith("*") else code == self.code
        if self.beginning:
            return message.startswith(self.beginning)
        return not self.type or type_ == self.type


def is_refusal(status: int) -> bool:
    """Return whether the status says that nothing was done."""
    return 400 <= status < 500 and status not in MAY_HAVE_WORKED


RULES: tuple[ErrorRule, ...] = (
    ErrorRule(About.ACCOUNT, PermissionDeniedError, "§5.2 [SDK]", code="organization_on_hold"),
    ErrorRule(About.ACCOUNT, PermissionDeniedError, "§5.2 [SDK14]", code="workspace_human_review_disabled"),
    ErrorRule(About.ACCOUNT, PermissionDeniedError, "§5.2 [SDK]", code="cmek_key_disabled"),
    ErrorRule(About.ACCOUNT, PermissionDeniedError, "§5.2 [SDK; INF]", code="cmek_key_network_blocked"),
    ErrorRule(About.ACCOUNT, PermissionDeniedError, "§5.2 [SDK]", code="claude_code_key_creator_not_member"),
    ErrorRule(About.ACCOUNT, SpendLimitReached, "§5.2 [SDK, DOC-08]", code="enforced_spend_limit_reached"),
    ErrorRule(About.ACCOUNT, SpendLimitReached, "§5.2 [SDK; INF]", code="contract_spend_limit_reached"),
    ErrorRule(About.ACCOUNT, SpendLimitReached, "§5.2 [SDK; INF]", code="linked_organization_spend_limit_reached"),
    ErrorRule(About.ACCOUNT, PaymentRequiredError, "§5.2 [SDK; INF]", code="linked_organization_billing_unavailable"),
    ErrorRule(About.BATCH, APIStatusError, "§5.2 [SDK; INF]: the profile that the batch names", code="user_profile_*"),
    ErrorRule(About.NOTHING_DONE, APIStatusError, '§5.2 [SDK]: "so nothing was done"', code="request_body_timeout"),
    ErrorRule(About.NOTHING_DONE, RateLimitError, "§5.2 [SDK; INF]", code="ramp_limit_exceeded"),
    # The only messages that are matched, by their beginnings: these have no code. Wording can change (§5).
    ErrorRule(
        About.ACCOUNT,
        SpendLimitReached,
        "§5.1 [DOC-08/09]: set by the user",
        status=400,
        beginning="You have reached your specified API usage limits",
    ),
    ErrorRule(
        About.ACCOUNT,
        SpendLimitReached,
        "§5.1 [DOC-08/09]: set by the user",
        status=400,
        beginning="You have reached your specified workspace API usage limits",
    ),
    ErrorRule(
        About.ACCOUNT,
        PaymentRequiredError,
        "§5.3 [3P claude-code #66314, #91322; continue #5499]: in the field a 400",
        status=400,
        beginning="Your credit balance is too low",
    ),
    ErrorRule(About.ACCOUNT, AuthenticationError, "§5.1 [DOC-09, CAP, SDK]", status=401),
    ErrorRule(About.ACCOUNT, PaymentRequiredError, "§5.1 [DOC-09]", status=402),
    ErrorRule(About.ACCOUNT, PermissionDeniedError, "§5.1 [DOC-09]", status=403),
    ErrorRule(About.BATCH, NotFoundError, "§5.1 [DOC-09, CAP]", status=404),
    ErrorRule(About.BATCH, APIStatusError, "§5.1 [DOC-09]", status=413),
    ErrorRule(About.BATCH, APIStatusError, "§5.1 [SDK]", status=422),
    ErrorRule(About.NOTHING_DONE, RateLimitError, "§5.1 [DOC-09, SDK]", status=429),
    ErrorRule(About.NOTHING_DONE, OverloadedError, "§5.1 [DOC-09]", status=OVERLOADED),
    ErrorRule(About.ACCOUNT, AuthenticationError, "§5.1 [DOC-09]", type="authentication_error"),
    ErrorRule(About.ACCOUNT, PaymentRequiredError, "§5.1 [DOC-09]", type="billing_error"),
    ErrorRule(About.ACCOUNT, PermissionDeniedError, "§5.1 [DOC-09]", type="permission_error"),
    ErrorRule(About.BATCH, NotFoundError, "§5.1 [DOC-09, CAP]", type="not_found_error"),
    ErrorRule(About.NOTHING_DONE, RateLimitError, "§5.1 [DOC-09]", type="rate_limit_error"),
    ErrorRule(
        About.ITS_WORDS,
        BadRequestError,
        "§5.1 [DOC-09]: any other; most are about a custom_id (§5.3 [CAP])",
        status=400,
    ),
)

# Answers without the API's envelope. Any other page of a proxy's proves nothing: the call may have gone through it.
EDGE_RULES: tuple[ErrorRule, ...] = (
    ErrorRule(About.BATCH, APIStatusError, "§11.20: Cloudflare answers before the API", status=413),
    ErrorRule(About.NOTHING_DONE, RateLimitError, "§11.20", status=429),
    ErrorRule(About.NOTHING_DONE, OverloadedError, "§5.1", status=OVERLOADED),
)


def kind_and_about(status: int, code: str, type_: str, message: str) -> tuple[type[APIStatusError], About]:
    """Return the exception class of an error in the API's envelope, and what it is about."""
    for row in RULES:
        if row.matches(status, code, type_, message):
            return row.kind, row.about
    return (InternalServerError if status >= 500 else APIStatusError), About.UNKNOWN


def edge_rule(status: int) -> ErrorRule | None:
    """Return the rule for an answer without the envelope; None if it is not known to be the API's."""
    return next((rule for rule in EDGE_RULES if rule.status == status), None)
