"""The tree of exceptions: names, bases and attributes are public."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re

import pytest

import django_claude_batches
from django_claude_batches import exceptions
from django_claude_batches.conf import ConfigurationError
from django_claude_batches.exceptions import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    ClaudeBatchesError,
)

BASES = {
    "ClaudeBatchesError": "Exception",
    "InvalidTransition": "ClaudeBatchesError",
    "AlreadyRunning": "InvalidTransition",
    "InvalidRequest": "ClaudeBatchesError ValueError",
    "LimitExceeded": "InvalidRequest",
    "WaitTimeout": "ClaudeBatchesError TimeoutError",
    "UnknownJob": "ClaudeBatchesError LookupError",
    "Unaskable": "ClaudeBatchesError",
    "UnreadableLines": "ClaudeBatchesError",
    "ResultsTooLarge": "ClaudeBatchesError",
    "InsideTransaction": "ClaudeBatchesError RuntimeError",
    "OtherInstallation": "ClaudeBatchesError",
    "NotOurs": "ClaudeBatchesError",
    "NotEnded": "NotOurs",
    "LeaseLost": "ClaudeBatchesError",
    "SendDeadlinePassed": "ClaudeBatchesError",
    "APIError": "ClaudeBatchesError",
    "APIConnectionError": "APIError",
    "APITimeoutError": "APIConnectionError",
    "APIResponseValidationError": "APIError",
    "APIStatusError": "APIError",
    "BadRequestError": "APIStatusError",
    "AuthenticationError": "APIStatusError",
    "PaymentRequiredError": "APIStatusError",
    "PermissionDeniedError": "APIStatusError",
    "NotFoundError": "APIStatusError",
    "RateLimitError": "APIStatusError",
    "SpendLimitReached": "APIStatusError",
    "ResultsUnavailable": "APIStatusError",
    "InternalServerError": "APIStatusError",
    "OverloadedError": "InternalServerError",
}


def descendants(kind: type[BaseException]) -> set[type[BaseException]]:
    return {kind}.union(*(descendants(each) for each in kind.__subclasses__()))


def test_bases() -> None:
    found = {
        name: " ".join(base.__name__ for base in kind.__bases__)
        for name, kind in vars(exceptions).items()
        if isinstance(kind, type) and issubclass(kind, BaseException)
    }
    assert found == BASES


def test_all_are_defined_in_one_module() -> None:
    for module in pkgutil.walk_packages(django_claude_batches.__path__, "django_claude_batches."):
        if not module.name.endswith(("__main__", ".pytest_plugin")):
            importlib.import_module(module.name)
    ours = {kind for kind in descendants(ClaudeBatchesError) if kind.__module__.startswith("django_claude_batches")}
    assert {kind.__name__ for kind in ours} == set(BASES)
    assert {kind.__module__ for kind in ours} == {"django_claude_batches.exceptions"}
    assert not issubclass(ConfigurationError, ClaudeBatchesError)


def test_the_docstring_draws_the_tree() -> None:
    drawn = inspect.cleandoc(exceptions.__doc__ or "").split("\n\n")[2]
    above = ["Exception"]
    for line in drawn.splitlines():
        branch, name = re.findall(r"([│├└─ ]*)(\w+)", line)[0]
        depth = len(branch) // 4  # the outermost line has as much space before it as each level
        assert BASES[name].partition(" ")[0] == above[depth - 1]
        above[depth:] = [name]
    assert re.findall(r"^[│├└─ ]*(\w+)", drawn, re.MULTILINE) == list(BASES)


@pytest.mark.parametrize("kind", [APIConnectionError, APITimeoutError])
@pytest.mark.parametrize("sent", [True, False])
def test_a_connection_error_has_no_status(kind: type[APIConnectionError], sent: bool) -> None:
    error = kind("cut", sent=sent, retry_after=3)
    assert (error.sent, error.retry_after, str(error)) == (sent, 3, "cut")
    assert not hasattr(error, "status_code")


def test_attributes_of_what_is_not_the_apis_answer() -> None:
    error = APIResponseValidationError("a page", status_code=502, request_id="req_1", retry_after=3)
    assert (error.status_code, error.message, error.request_id, error.retry_after) == (502, "a page", "req_1", 3)
    assert str(error) == "Anthropic answered 502: a page (request id req_1)"


@pytest.mark.parametrize("name", [name for name in BASES if issubclass(getattr(exceptions, name), APIStatusError)])
def test_attributes_of_what_has_a_status(name: str) -> None:
    error: APIStatusError = getattr(exceptions, name)(
        "Slow down.", status_code=429, type="rate_limit_error", error_code="x", request_id="req_1", retry_after=3
    )
    assert isinstance(error, APIError)
    assert (error.status_code, error.type, error.error_code) == (429, "rate_limit_error", "x")
    assert (error.message, error.request_id, error.retry_after) == ("Slow down.", "req_1", 3)
    assert str(error) == "Anthropic answered 429 x: Slow down. (request id req_1)"
