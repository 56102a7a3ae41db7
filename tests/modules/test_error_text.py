"""Stored errors: their type and place are public, their message requires permission."""

from __future__ import annotations

import pytest

from django_claude_batches.drafting.request import check_header
from django_claude_batches.error_text import (
    TRACEBACK_START,
    format_error,
    format_with_traceback,
    join_errors,
    one_line,
    public_part,
)
from django_claude_batches.exceptions import InvalidRequest, InvalidTransition

SECRET = "my password is hunter2"


def caught(error: BaseException, cause: BaseException | None = None) -> str:
    def test_raising() -> None:
        raise error from cause

    with pytest.raises(type(error)) as found:
        test_raising()
    return format_with_traceback(found.value)


@pytest.mark.parametrize(
    "text",
    [
        caught(ValueError(SECRET)),
        caught(ValueError(f"one line\n{SECRET}\n{TRACEBACK_START}\n{SECRET}")),
        caught(ValueError("x" * 100_000 + SECRET)),
        caught(ValueError("no"), KeyError(SECRET)),
        caught(ExceptionGroup(SECRET, [ValueError(SECRET)])),
        format_with_traceback(ValueError(SECRET)),
    ],
    ids=["message", "lines", "long", "cause", "group", "not raised"],
)
def test_type_and_place_are_public_and_the_words_are_not(text: str) -> None:
    assert SECRET in text
    assert SECRET not in public_part(text)
    assert "\n" not in public_part(text)
    assert public_part(text).startswith(("ValueError", "ExceptionGroup"))
    assert len(text) < 2_500


def test_the_place_is_where_it_was_raised() -> None:
    text = caught(ValueError(SECRET))
    assert public_part(text).startswith("ValueError at tests.modules.test_error_text, line ")
    assert public_part(text).endswith("in caught.<locals>.test_raising")
    assert one_line(text) == f"{public_part(text)}: ValueError: {SECRET}"


def test_several_are_one_text_with_what_is_public_first() -> None:
    text = join_errors(["", "3 results never came", f"a raised {caught(ValueError(SECRET))}", "b"])
    assert SECRET in text
    assert public_part(text).startswith("3 results never came; a raised ValueError at ")
    assert public_part(text).endswith("; b")
    assert SECRET not in public_part(text)
    assert join_errors(["x", "", "y"]) == "x; y"


def test_what_the_api_says_is_public() -> None:
    words = "Anthropic answered 400 invalid_request_error: line 1\nline 2: Error: no"
    assert public_part(words) == one_line(words) == words


def test_what_this_package_raises_is_in_its_own_words() -> None:
    with pytest.raises(InvalidRequest) as found:
        check_header("a beta", "two words")
    assert format_error(found.value) == str(found.value)


def test_our_classes_raised_by_the_project_are_not_our_words() -> None:
    with pytest.raises(InvalidTransition) as found:
        raise InvalidTransition(SECRET)
    assert SECRET not in public_part(format_error(found.value))
