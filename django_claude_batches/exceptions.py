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
    """The batch's state does not allow the action; the text names the states that do."""


class AlreadyRunning(InvalidTransition):
    """The job is running, and does not allow overlap; `run` is the active run, if known."""

    def __init__(self, message: str, *, run: Any = None) -> None:
        self.run = run
        super().__init__(message)


class UnknownJob(ClaudeBatchesError, LookupError):
    """This process knows no job of this name; the text lists the known ones."""


class Unaskable(ClaudeBatchesError):
    """A request cannot be built from a job's row, or rows cannot be read; the text says which, and why."""


class InvalidRequest(ClaudeBatchesError, ValueError):
    """A request that the API would refuse, found while drafting.

    `position` counts the items from 0 (None: the batch as a whole); `custom_id` is the item's, if it had one.
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
    """More than a batch may hold (100,000 requests, 256,000,000 bytes), or than a report of usage can tell apart."""


class WaitTimeout(ClaudeBatchesError, TimeoutError):
    """The timeout of a wait has passed; the batch continues. `last_status` is the last status seen."""

    def __init__(self, message: str, *, last_status: str | None = None) -> None:
        self.last_status = last_status
        super().__init__(message)


class UnreadableLines(ClaudeBatchesError):
    """Some lines of the results could not be read; raised after all others were yielded.

    `problems` holds up to 100 pairs of line number (from 1) and reason; `count` is the number of unreadable lines.
    """

    def __init__(self, message: str, *, problems: list[tuple[int, str]], count: int) -> None:
        self.problems = problems
        self.count = count
        super().__init__(message)


class ResultsTooLarge(ClaudeBatchesError):
    """The results have far more lines than the batch can have results, or an endless line.

    Earlier lines were yielded; the rest is not read.
    """


class InsideTransaction(ClaudeBatchesError, RuntimeError):
    """A function that sends HTTP was called inside a transaction."""


class OtherInstallation(ClaudeBatchesError):
    """The account's rows belong to another installation, by the name in the database: this may be a copy of it."""


class NotOurs(ClaudeBatchesError):
    """The batch at Anthropic is not, or cannot yet be proved to be, the requested one."""


class NotEnded(NotOurs):
    """The batch may be the requested one: that can be verified when it has ended."""


class LeaseLost(ClaudeBatchesError):
    """Another worker has leased the row since: it continues the work that was not stored."""


class SendDeadlinePassed(ClaudeBatchesError):
    """The body of a create call was still being sent when SEND_DEADLINE was over."""


class APIError(ClaudeBatchesError):
    """A call to Anthropic failed.

    `retry_after` is how many seconds the server asked to wait, None without it.
    """

    def __init__(self, text: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(text)


class APIConnectionError(APIError):
    """There was no complete answer. It has no status.

    `sent` says whether the request may have arrived: False only if no connection was made.
    """

    def __init__(self, message: str, *, sent: bool, retry_after: float | None = None) -> None:
        self.sent = sent
        super().__init__(message, retry_after=retry_after)


class APITimeoutError(APIConnectionError):
    """The call exceeded one of its time limits: connect, read, total or the minimum rate."""


class APIResponseValidationError(APIError):
    """The response is not an answer of the API: a proxy's page, a redirect, a 2xx without the expected object.

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
    """403, or a 400 about the organization, the Workspace or the key's owner: a valid key without permission."""


class NotFoundError(APIStatusError):
    """404: no such batch for this key's Workspace. Possible up to 2 minutes after a create."""


class RateLimitError(APIStatusError):
    """429, temporary; `retry_after` says for how long if the server knows."""


class SpendLimitReached(APIStatusError):
    """A spend limit: waiting seconds does not help. It lasts until the limit is raised or the month ends."""


class ResultsUnavailable(APIStatusError):
    """404 for the results: the batch has not ended, or they were archived."""


class InternalServerError(APIStatusError):
    """500 and above: an error of the server, in the API's envelope."""


class OverloadedError(InternalServerError):
    """529: the API is overloaded."""


def _answer_text(status_code: int, kind: str | None, message: str, request_id: str | None) -> str:
    text = f"Anthropic answered {status_code}{f' {kind}' if kind else ''}: {message}"
    return f"{text} (request id {request_id})" if request_id else text


def result_or_error(call: Callable[[], T]) -> T | ClaudeBatchesError:
    """Return what the call returns, or the error of this app that it raises.

    So the error is handled after its `except` block has ended: an error in the handling is not chained to it, and error
    reports do not show the frames of the call, which may hold a key.
    """
    try:
        return call()
    except ClaudeBatchesError as error:
        return error
