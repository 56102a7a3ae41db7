"""What may stand in the braces of a prompt: names of columns, and nothing that reaches further."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_claude_batches.request_files import BadPrompt, Prompt, Question, read_schema


@pytest.mark.parametrize(
    ("text", "columns", "filled"),
    [
        ("Tag: {review}", ("review",), "Tag: warm"),
        ("{review} {review}", ("review",), "warm warm"),
        ("{ review }", ("review",), "warm"),
        ("{Price (USD)} of {review}", ("Price (USD)", "review"), "9 of warm"),
        ('{{"tag": "{review}"}}', ("review",), '{"tag": "warm"}'),
        ("{{review}} {review}", ("review",), "{review} warm"),
        ("a\nb {review}\n", ("review",), "a\nb warm\n"),
        ("{größe}", ("größe",), "XL"),
    ],
)
def test_columns_are_filled_in(text: str, columns: tuple[str, ...], filled: str) -> None:
    prompt = Prompt(text)
    assert prompt.columns == columns
    assert prompt.fill({"review": "warm", "Price (USD)": "9", "größe": "XL"}) == filled


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{row.__class__}", "{row.__class__} is not just a column's name"),
        ("{row.__class__.__init__.__globals__}", "is not just a column's name"),
        ("{row[0]}", "{row[0]} is not just a column's name"),
        ("{row!r}", "{row!r} is not just a column's name"),
        ("{row:>1000000000}", "{row:>1000000000} is not just a column's name"),
        ("{row:{width}}", "{row:{width}} is not just a column's name"),
        ('{"tag": 1} {row}', "Write {{ and }} for literal braces"),
        ("{}", "braces without a column's name"),
        ("{ } {row}", "braces without a column's name"),
        ("{row", "an unmatched brace"),
        ("row}", "an unmatched brace"),
        ("Say hello.", "names no column"),
        ("", "names no column"),
        ("{{row}}", "names no column"),
    ],
)
def test_anything_else_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadPrompt) as caught:
        Prompt(text)
    assert why in str(caught.value)


@given(cell=st.text(), before=st.text(), after=st.text())
def test_a_cell_is_text_whatever_it_holds(cell: str, before: str, after: str) -> None:
    def escaped(text: str) -> str:
        return text.replace("{", "{{").replace("}", "}}")

    prompt = Prompt(f"{escaped(before)}{{cell}}{escaped(after)}")
    assert prompt.fill({"cell": cell}) == before + cell + after


@given(st.text(alphabet="{}ab.[]!: ", max_size=12))
def test_any_text_is_a_prompt_or_refused(text: str) -> None:
    try:
        prompt = Prompt(text)
    except BadPrompt:
        return
    assert prompt.fill(dict.fromkeys(prompt.columns, "x"))


def test_the_params_of_a_question() -> None:
    schema = {"type": "object", "properties": {"tag": {"type": "string"}}}
    question = Question(Prompt("Tag: {a}"), model="claude-haiku-4-5", max_tokens=9, system="Be brief.", schema=schema)
    assert question.params({"a": "warm"}) == {
        "model": "claude-haiku-4-5",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Tag: warm"}],
        "system": "Be brief.",
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
    }
    plain = Question(Prompt("{a}"), model="m")
    assert plain.params({"a": "x"}).keys() == {"model", "max_tokens", "messages"}
    with pytest.raises(ValueError, match="the prompt is empty"):
        plain.params({"a": " \n"})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("3", "not a JSON object"),
        ('{"a": 1, "a": 2}', "the key 'a' occurs twice"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_schema_that_is_none(text: str, why: str) -> None:
    with pytest.raises(BadPrompt, match=why):
        read_schema(text)


def test_a_schema() -> None:
    assert read_schema(' {"type": "object"}\n') == {"type": "object"}
