"""Faults that answer with an error status (`docs/reference/wire.md` §5).

With `happens`, the request is executed all the same: a 500 may come after the batch was made. `retry_after` (seconds,
or a text) and `should_retry` set those headers on the answer, unless they are None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlencode

from django_claude_batches.testing.emulator import errors
from django_claude_batches.testing.emulator.errors import Refusal
from django_claude_batches.testing.emulator.http_messages import VERBS, Response, refused

from .context import Fault, Turn, faults

HTML = (
    "<html>\r\n<head><title>{status}</title></head>\r\n<body><center><h1>{status}</h1></center></body>\r\n</html>\r\n"
)
NEVER_RETRIED = frozenset({400, 401, 402, 403, 404, 413})

# §5.1 to §5.3. The texts of 402, 403, 408, 409, 503 and 504, and of those with a code other than `spend_cap`, are
# inferred.
STATUSES = {
    "key_refused": errors.key_invalid(),
    "billing": Refusal(402, "billing_error", "Your credit balance is too low to access the Anthropic API."),
    "access_refused": Refusal(403, "permission_error", "Your API key does not have permission to use this resource."),
    "timed_out": Refusal(408, "timeout_error", "Request timed out."),
    "conflict": Refusal(409, "conflict_error", "Conflict."),
    "server_error": Refusal(500, "api_error", "Internal server error"),
    "unavailable": Refusal(503, "api_error", "Service unavailable."),
    "gateway_timeout": Refusal(504, "timeout_error", "Gateway timed out."),
    "overloaded": Refusal(529, "overloaded_error", "Overloaded"),
    "on_hold": errors.invalid("This organization is on hold.", code="organization_on_hold"),
    "human_review_disabled": errors.invalid(
        "Human review is disabled for this workspace.", code="workspace_human_review_disabled"
    ),
    "encryption_key_disabled": errors.invalid("The encryption key is disabled.", code="cmek_key_disabled"),
    "key_creator_gone": errors.invalid(
        "The creator of this API key is not a member of the organization any more.",
        code="claude_code_key_creator_not_member",
    ),
    "user_profile_refused": Refusal(
        403, "permission_error", "This user profile cannot be billed.", {"error_code": "user_profile_not_billable"}
    ),
    "credit_too_low": errors.invalid(
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or "
        "purchase credits."
    ),
    "spend_limit": errors.invalid(
        "You have reached your specified API usage limits. You will regain access on 2027-01-01 at 00:00 UTC."
    ),
    "spend_cap": Refusal(
        429,
        "rate_limit_error",
        "You have reached your API usage limits: your organization has crossed its monthly API usage threshold, set "
        "based on your organization's API tier. You will regain access on 2027-01-01 at 00:00 UTC.",
        {"error_code": "enforced_spend_limit_reached"},
    ),
}

RetryAfter = float | str | None


def refusal(
    turn: Turn,
    *,
    status: int = 400,
    type: str = "invalid_request_error",  # noqa: A002 (the API's word)
    message: str = "Your plan does not include the Message Batches API.",
    code: str | None = None,
    retry_after: RetryAfter = None,
    should_retry: bool | None = None,
    happens: bool = False,
) -> Response:
    """Answer with any error in the API's envelope, with this `message`, and `code` as its `error_code`."""
    refusal = Refusal(status, type, message, errors.details_of(code))
    return _answer(turn, refusal, _hints(retry_after, should_retry), happens=happens)


def not_found(turn: Turn, *, happens: bool = False) -> Response:
    """Answer 404 for an existing batch, which was observed up to two minutes after the create call (§11)."""
    return _answer(turn, errors.batch_unknown(turn.batch_id), {}, happens=happens)


def html(turn: Turn, *, status: int = 500, retry_after: RetryAfter = None, happens: bool = False) -> Response:
    """Answer with a proxy's HTML page, with this `status` (200 too) and no request-id."""
    made = turn.answer().batch_id if happens else None
    body = HTML.format(status=status).encode()
    headers = {"content-type": "text/html"} | _hints(retry_after)
    return Response(status, headers, body, batch_id=made)


def redirect(turn: Turn, *, status: int = 307, to: str = "http://elsewhere.invalid", happens: bool = False) -> Response:
    """Redirect to the same path at another host, `to`: a client that follows it sends the key there (§11)."""
    made = turn.answer().batch_id if happens else None
    query = f"?{urlencode(turn.request.query)}" if turn.request.query else ""
    headers = {"location": f"{to}{turn.request.path}{query}"}
    return Response(status, headers, b"", batch_id=made)


def _refusing(refusal: Refusal, usual: RetryAfter = None) -> Callable[..., Response]:
    def spoil(
        turn: Turn, *, retry_after: RetryAfter = usual, should_retry: bool | None = None, happens: bool = False
    ) -> Response:
        return _answer(turn, refusal, _hints(retry_after, should_retry), happens=happens)

    return spoil


def _answer(turn: Turn, refusal: Refusal, hints: dict[str, str], *, happens: bool) -> Response:
    made = turn.answer().batch_id if happens else None
    # As in `Routes`: an error before the key is known does not name the Workspace (§2.2).
    identity = {} if refusal.status == 401 else turn.identity
    answer = refused(refusal, {"request-id": turn.request_id} | identity)
    if refusal.status not in NEVER_RETRIED:
        del answer.headers["x-should-retry"]
    return replace(answer, headers=answer.headers | hints, batch_id=made)


def _hints(retry_after: RetryAfter, should_retry: bool | None = None) -> dict[str, str]:  # noqa: FBT001 (a header)
    hints = {} if retry_after is None else {"retry-after": str(retry_after)}
    return hints if should_retry is None else hints | {"x-should-retry": str(should_retry).lower()}


# The text is inferred.
RATE_LIMITED = Refusal(429, "rate_limit_error", "This request would exceed your organization's rate limit.")

FAULTS = {
    **{name: Fault(_refusing(refusal), VERBS) for name, refusal in STATUSES.items()},
    "rate_limited": Fault(_refusing(RATE_LIMITED, usual=1), VERBS),
    **faults(VERBS, refusal, html, redirect),
    **faults(("retrieve", "results"), not_found),
}
