"""Methods of a job that would never run are refused when the class is defined."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, field_validator

from django_claude_batches import job_registry
from django_claude_batches.checks import check_jobs
from tests.harness.shop import Tagging, job


async def coroutine_function(self: Any, *args: Any) -> Any: ...
def generator_function(self: Any, *args: Any) -> Any:
    yield


async def async_generator_function(self: Any, *args: Any) -> Any:
    yield


def calling(function: Callable[..., Any]) -> Any:
    """An object whose `__call__` is this function."""
    return type("Callback", (), {"__call__": function})()


WRAPPED = [lambda each: each, staticmethod, classmethod, functools.partial, functools.partialmethod, calling]
OTHERS = ["get_queryset", "get_prompt", "get_params", "get_betas", "get_targets"]
HANDLERS = ["on_result", "on_failure", "on_finished"]


def refused(member: str, function: Any) -> str:
    """Define a job with this member; return why it is refused, and make sure that no batch can find it."""
    with pytest.raises(TypeError) as error:
        job(**{member: function})
    assert job_registry.find("tag-reviews") is None
    return str(error.value)


class TestDeclaration:
    @pytest.mark.parametrize("wrapped", WRAPPED)
    @pytest.mark.parametrize("member", HANDLERS)
    def test_a_handler_that_is_a_generator_function_is_refused(self, member: str, wrapped: Any) -> None:
        for function, name in (
            (generator_function, "a generator function"),
            (async_generator_function, "an async generator function"),
        ):
            said = refused(member, wrapped(function))
            assert said == f"TagReviews.{member}() is {name}: its body would never run. Remove the yield."

    @pytest.mark.parametrize("wrapped", WRAPPED)
    @pytest.mark.parametrize("member", OTHERS)
    def test_another_method_that_is_a_coroutine_function_is_refused(self, member: str, wrapped: Any) -> None:
        said = refused(member, wrapped(coroutine_function))
        assert said == (
            f"TagReviews.{member}() is a coroutine function: of a job's methods, only on_result, on_failure, "
            "on_finished may be async def."
        )
        assert "an async generator function" in refused(member, wrapped(async_generator_function))

    @pytest.mark.parametrize("member", ["get_queryset", "get_prompt", "get_params"])
    def test_another_method_that_is_a_generator_function_is_refused(self, member: str) -> None:
        assert "is a generator function" in refused(member, generator_function)

    def test_an_abstract_job_is_refused_too(self) -> None:
        with pytest.raises(TypeError, match=r"Tagged.get_prompt\(\) is a coroutine function"):
            type("Tagged", (Tagging,), {"get_prompt": coroutine_function}, abstract=True)  # type: ignore[call-overload]

    def test_what_is_set_later_is_said_by_check(self) -> None:
        tagging: Any = job()
        tagging.on_result = generator_function
        (message,) = [message for message in check_jobs(app_configs=None) if message.obj is tagging]
        assert (message.id, message.msg) == (
            "django_claude_batches.E007",
            "TagReviews.on_result() is a generator function: its body would never run. Remove the yield.",
        )

    def test_a_validator_that_is_a_coroutine_function_is_said(self) -> None:
        async def check(value: list[str]) -> list[str]: ...

        class Tags(BaseModel):
            tags: Annotated[list[str], AfterValidator(check)]

            @field_validator("tags")
            @classmethod
            async def are_few(cls, value: list[str]) -> list[str]: ...

        (problem,) = job(output_schema=Tags).problems()
        start = "TagReviews.output_schema: Tags has validators that are async def, which nothing awaits: "
        assert problem.startswith(start)
        assert "Tags.are_few" in problem
        assert ".check" in problem
