"""Every error that this app raises, but for `conf.ConfigurationError`, which stands apart on purpose."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")


class About(StrEnum):
    """What an error of the API is about; `client.error_table` says it of each."""

    ACCOUNT = "account"
    """The account: every batch of it would be refused, so it is paused until a person resumes it."""
    BATCH = "batch"
    """This batch would be refused again."""
    NOTHING_DONE = "nothing_done"
    """Neither: it was refused before work, and can be sent again later."""
    ITS_WORDS = "its_words"
    """An unknown 400: nothing was done; its message decides whether it concerns the account or the batch."""
    UNKNOWN = "unknown"
    """Unknown: the call may have been carried out."""


class ClaudeBatchesError(Exception):
    """The base of the family."""


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


class APIError(ClaudeBatchesError):
    """The API answered, and the answer was an error. Everything here is in the API's own words.

    `status` is the HTTP status, `type` the envelope's `error.type`, `error_code` its `error.details.error_code`,
    `request_id` the id to quote to Anthropic's support, `retry_after` the seconds that the server asked us to wait.
    `about` says whether the account, the request, or neither was refused.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        type: str | None = None,  # noqa: A002 (the API's word)
        error_code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        details: dict[str, Any] | None = None,
        about: About = About.UNKNOWN,
    ) -> None:
        self.message = message
        self.about = about
        self.status = status
        self.type = type
        self.error_code = error_code
        self.request_id = request_id
        self.retry_after = retry_after
        self.details = details or {}
        kind = error_code or type
        text = f"Anthropic answered {status}{f' {kind}' if kind else ''}: {message}"
        super().__init__(f"{text} (request id {request_id})" if request_id else text)


class AuthenticationError(APIError):
    """401: the key is wrong, expired or revoked."""


class AccessRefused(APIError):
    """402, 403, or a 400 about the credit, the organization, the Workspace or the key's owner: the key is known, and
    may not do this."""


class NotFoundError(APIError):
    """404: no such batch for this key's Workspace. Seen in passing up to 2 minutes after a create."""


class ResultsUnavailable(APIError):
    """The results cannot be read: the batch has not ended, or they were archived."""


class RateLimitError(APIError):
    """429, for a while; `retry_after` says how long where the server knows."""


class SpendLimitReached(APIError):
    """A spend limit: waiting seconds does not help, it lasts until somebody raises it or the month ends."""


class ServerFault(APIError):
    """5xx, 529 included, and anything that is not an answer of the API."""


class APIConnectionError(ClaudeBatchesError):
    """There was no complete answer.

    `sent` says whether the request may have arrived: False only where the connection was never made. `too_slow` says
    that the call ran into one of its time limits (connect, read, total or the least rate). `retry_after` is in seconds,
    where a later try was answered with it.
    """

    def __init__(self, message: str, *, sent: bool, too_slow: bool = False, retry_after: float | None = None) -> None:
        self.sent = sent
        self.too_slow = too_slow
        self.retry_after = retry_after
        super().__init__(message)


def result_or_error(call: Callable[[], T]) -> T | ClaudeBatchesError:
    """Return what the call returns, or the error of this app that it raises.

    So the error is handled after its `except` block has ended: what the handling itself raises is not chained to it,
    and error reports do not show the frames of the call, which may hold a key.
    """
    try:
        return call()
    except ClaudeBatchesError as error:
        return error
