"""The exceptions of this app, in one tree.

::

    ClaudeBatchesError
    ├── InvalidTransition
    │   └── AlreadyRunning
    ├── InvalidRequest (ValueError)
    │   └── LimitExceeded
    ├── WaitTimeout (TimeoutError)
    ├── UnknownJob (LookupError)
    ├── Unaskable
    ├── UnreadableLines
    ├── ResultsTooLarge
    ├── InsideTransaction (RuntimeError)
    ├── OtherInstallation
    ├── NotOurs
    │   └── NotEnded
    ├── LeaseLost
    ├── SendDeadlinePassed
    └── APIError
        ├── APIConnectionError
        │   └── APITimeoutError
        ├── APIResponseValidationError
        └── APIStatusError
            ├── BadRequestError
            ├── AuthenticationError
            ├── PaymentRequiredError
            ├── PermissionDeniedError
            ├── NotFoundError
            ├── RateLimitError
            ├── SpendLimitReached
            ├── ResultsUnavailable
            └── InternalServerError
                └── OverloadedError

Those below `APIError` have the names that users of Anthropic's SDK know; they are classes of this app.
`conf.ConfigurationError` is outside the tree, so that no `except ClaudeBatchesError` hides a wrong setting.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")


class About(StrEnum):
    """What an error of the API is about; `client.error_table` decides it for each."""

    #: The account: every batch of it would be refused, so it is paused until a person resumes it.
    ACCOUNT = "account"
    #: This batch would be refused again.
    BATCH = "batch"
    #: Neither: it was refused before work, and can be sent again later.
    NOTHING_DONE = "nothing_done"
    #: An unknown 400: nothing was done; its message decides whether it concerns the account or the batch.
    ITS_WORDS = "its_words"
    #: Unknown: the call may have been carried out.
    UNKNOWN = "unknown"


class ClaudeBatchesError(Exception):
    """The base of all exceptions of this app but `conf.ConfigurationError`."""


class InvalidTransition(ClaudeBatchesError):
    """The batch's state forbids the verb; the text names the states that allow it."""


class AlreadyRunning(InvalidTransition):
    """The job is running, and does not allow a second run beside it; `run` is the one that runs, where it is known."""

    def __init__(self, message: str, *, run: Any = None) -> None:
        self.run = run
        super().__init__(message)


class UnknownJob(ClaudeBatchesError, LookupError):
    """No job of this name is known here; the text names those that are."""


class Unaskable(ClaudeBatchesError):
    """A job's row of which no request can be made, or rows that cannot be read; the text says which, and why."""


class InvalidRequest(ClaudeBatchesError, ValueError):
    """A request that the API would refuse, found while drafting.

    `position` counts the items from 0 (None: the batch as a whole); `custom_id` is the item's, where it had one.
    """

    def __init__(self, reason: str, *, position: int | None = None, custom_id: str | None = None) -> None:
        self.reason = reason
        self.position = position
        self.custom_id = custom_id
        where = "" if position is None else f"Request {position}"
        if where and custom_id is not None:
            where += f" (custom_id {custom_id!r:.80})"
        super().__init__(f"{where}: {reason}" if where else reason)


class LimitExceeded(InvalidRequest):
    """More than a batch may hold: 100,000 requests, 256,000,000 bytes."""


class WaitTimeout(ClaudeBatchesError, TimeoutError):
    """The time given to a wait is over; the batch goes on. `last_status` is what was seen last."""

    def __init__(self, message: str, *, last_status: str | None = None) -> None:
        self.last_status = last_status
        super().__init__(message)


class UnreadableLines(ClaudeBatchesError):
    """Some lines of the results could not be read; raised after all others were given out.

    `problems` holds up to 100 pairs of line number (from 1) and reason; `count` says how many lines there were.
    """

    def __init__(self, message: str, *, problems: list[tuple[int, str]], count: int) -> None:
        self.problems = problems
        self.count = count
        super().__init__(message)


class ResultsTooLarge(ClaudeBatchesError):
    """The results have far more lines than the batch can have results, or a line without an end.

    What came before was given out; the rest is not read.
    """


class InsideTransaction(ClaudeBatchesError, RuntimeError):
    """A function that talks to Anthropic was called inside a transaction."""


class OtherInstallation(ClaudeBatchesError):
    """The account's rows belong to another installation, by the name in the database: this may be a copy of it."""


class NotOurs(ClaudeBatchesError):
    """The batch at Anthropic is not, or cannot yet be shown to be, the one that was asked for."""


class NotEnded(NotOurs):
    """The batch may be the one: that is known when it has ended."""


class LeaseLost(ClaudeBatchesError):
    """Another worker has leased the row since: what was not stored is left to it."""


class SendDeadlinePassed(ClaudeBatchesError):
    """The body of a create call was still being sent when SEND_DEADLINE was over."""


class APIError(ClaudeBatchesError):
    """A call to Anthropic failed.

    `retry_after` is how many seconds the server asked us to wait, None if it did not.
    """

    def __init__(self, text: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(text)


class APIConnectionError(APIError):
    """There was no complete answer. It has no status.

    `sent` says whether the request may have arrived: False only where the connection was never made.
    """

    def __init__(self, message: str, *, sent: bool, retry_after: float | None = None) -> None:
        self.sent = sent
        super().__init__(message, retry_after=retry_after)


class APITimeoutError(APIConnectionError):
    """The call ran into one of its time limits: connect, read, total or the least rate."""


class APIResponseValidationError(APIError):
    """What was received is not an answer of the API: a proxy's page, a redirect, a 2xx without what was asked for.

    `status_code` is its HTTP status, `message` what is wrong with it or the beginning of its text, and `request_id` the
    id to quote to Anthropic's support.
    """

    def __init__(
        self, message: str, *, status_code: int, request_id: str | None = None, retry_after: float | None = None
    ) -> None:
        self.message = message
        self.status_code = status_code
        self.request_id = request_id
        super().__init__(_answer_text(status_code, None, message, request_id), retry_after=retry_after)


class APIStatusError(APIError):
    """The API answered with an error. All texts are in the API's own words.

    `status_code` is the HTTP status, `type` the envelope's `error.type`, `error_code` its `error.details.error_code`,
    `message` its `error.message` and `request_id` the id to quote to Anthropic's support. `about` says whether the
    account, the batch, or neither was refused.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        type: str | None = None,  # noqa: A002 (the API's word)
        error_code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        details: dict[str, Any] | None = None,
        about: About = About.UNKNOWN,
    ) -> None:
        self.message = message
        self.status_code = status_code
        self.type = type
        self.error_code = error_code
        self.request_id = request_id
        self.details = details or {}
        self.about = about
        super().__init__(_answer_text(status_code, error_code or type, message, request_id), retry_after=retry_after)


class BadRequestError(APIStatusError):
    """400, where neither the code nor the message says more."""


class AuthenticationError(APIStatusError):
    """401: the key is wrong, expired or revoked."""


class PaymentRequiredError(APIStatusError):
    """402, or a 400 about the credit balance. A spend limit is `SpendLimitReached`."""


class PermissionDeniedError(APIStatusError):
    """403, or a 400 about the organization, the Workspace or the key's owner: the key is known, and may not do this."""


class NotFoundError(APIStatusError):
    """404: no such batch for this key's Workspace. Seen in passing up to 2 minutes after a create."""


class RateLimitError(APIStatusError):
    """429, for a while; `retry_after` says how long where the server knows."""


class SpendLimitReached(APIStatusError):
    """A spend limit: waiting seconds does not help. It lasts until the limit is raised or the month ends."""


class ResultsUnavailable(APIStatusError):
    """404 for the results: the batch has not ended, or they were archived."""


class InternalServerError(APIStatusError):
    """500 and above: an error of the server, which says so itself."""


class OverloadedError(InternalServerError):
    """529: the API is overloaded."""


def _answer_text(status_code: int, kind: str | None, message: str, request_id: str | None) -> str:
    text = f"Anthropic answered {status_code}{f' {kind}' if kind else ''}: {message}"
    return f"{text} (request id {request_id})" if request_id else text


def result_or_error(call: Callable[[], T]) -> T | ClaudeBatchesError:
    """Return what the call returns, or the error of this app that it raises.

    So the error is handled after its `except` block has ended: what the handling itself raises is not chained to it,
    and error reports do not show the frames of the call, which may hold a key.
    """
    try:
        return call()
    except ClaudeBatchesError as error:
        return error
