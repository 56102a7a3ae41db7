"""To which requests a fault applies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from django_claude_batches.testing import ClaudeEmulator
from django_claude_batches.testing.emulator.faults.command_line import parse
from django_claude_batches.testing.emulator.faults.script import KNOWN
from tests.testing.caller import BATCHES, call, create

TESTS = Path(__file__).parent
REFERENCE = TESTS.parents[3] / "docs/reference/emulator.md"


def statuses(claude, count=6):
    return [call(claude, "GET", BATCHES).status for _ in range(count)]


@pytest.mark.parametrize(
    ("when", "spoiled"),
    [
        ({}, {1}),
        ({"at": 3}, {3}),
        ({"at": 2, "times": 3}, {2, 3, 4}),
        ({"times": None}, {1, 2, 3, 4, 5, 6}),
        ({"at": 5, "times": None}, {5, 6}),
        ({"share": 0.0, "times": None}, set()),
        ({"on": "retrieve"}, set()),
        ({"on": ["list", "retrieve"], "at": 2}, {2}),
        ({"batch": "msgbatch_x", "times": None}, set()),
    ],
)
def test_when(claude, when, spoiled):
    claude.fault("server_error", **when)
    assert statuses(claude) == [500 if n in spoiled else 200 for n in range(1, 7)]


def test_counting_starts_when_it_is_scripted(claude):
    statuses(claude, 2)
    claude.fault("server_error", at=2)
    assert statuses(claude, 3) == [200, 500, 200]


def test_only_matching_requests_are_counted(claude):
    claude.fault("server_error", on="create", at=2)
    create(claude)
    assert statuses(claude) == [200] * 6
    with pytest.raises(AssertionError):
        create(claude)


def test_of_one_batch(claude):
    first, second = create(claude), create(claude)
    claude.fault("not_found", batch=second, times=None)
    assert [call(claude, "GET", f"{BATCHES}/{each}").status for each in (first, second, first)] == [200, 404, 200]


def test_a_share_is_drawn_by_the_seed():
    def story(seed):
        with ClaudeEmulator(seed=seed) as claude:
            claude.fault("overloaded", times=None, share=0.5)
            return statuses(claude, 40)

    assert story(1) == story(1) != story(2)
    assert 8 < story(1).count(529) < 32


def test_clearing(claude):
    claude.fault("server_error", times=None)
    assert statuses(claude, 1) == [500]
    claude.clear_faults()
    assert statuses(claude, 2) == [200, 200]


def test_a_later_fault_changes_the_answer_of_an_earlier_one(claude):
    claude.fault("overloaded")
    claude.fault("slow_answer", delay=0)
    claude.fault("server_error", at=2)
    claude.fault("overloaded", at=2)
    assert statuses(claude, 2) == [529, 529]
    assert [request.faults for request in claude.requests] == [
        ("overloaded", "slow_answer"),
        ("server_error", "overloaded"),
    ]


def test_no_fault_applies_to_other_paths(claude):
    claude.fault("server_error", times=None)
    assert call(claude, "GET", "/nowhere").status == 404
    assert call(claude, "PUT", BATCHES).status == 405


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "lost_anser"}, "unknown fault 'lost_anser'. Did you mean lost_answer? There are: access_refused, "),
        ({"name": "crlf", "line": 1}, "crlf has no option 'line'. It has: none"),
        ({"name": "html", "stat": 1}, "html has no option 'stat'. It has: status, retry_after, happens"),
        ({"name": "html", "on": "lists"}, "unknown verb 'lists'. There are: create, retrieve, list, "),
        ({"name": "html", "at": 0}, "at and times are at least 1"),
        ({"name": "html", "times": 0}, "at and times are at least 1"),
        ({"name": "html", "share": 2}, "share is 0 to 1"),
    ],
)
def test_invalid_faults_are_refused_with_the_allowed_values(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ClaudeEmulator().fault(**arguments)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("html", {"at": 1, "times": 1}),
        ("html@3", {"at": 3, "times": 1}),
        ("html@3-5", {"at": 3, "times": 3}),
        ("html@*", {"times": None}),
        ("html@2.5%", {"times": None, "share": 0.025}),
        ("html@2:status=502,retry_after=soon", {"at": 2, "times": 1, "status": 502, "retry_after": "soon"}),
        ("html:retry_after=null,happens=true", {"at": 1, "times": 1, "retry_after": None, "happens": True}),
        ("html:on=list+create,batch=b", {"at": 1, "times": 1, "on": ("list", "create"), "batch": "b"}),
    ],
)
def test_a_fault_is_parsed_from_a_text(text, arguments):
    assert parse(text) == {"name": "html"} | arguments


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a fault: write NAME"),
        ("html@x", "'html@x' is not a fault"),
        ("htm", "unknown fault 'htm'. Did you mean html?"),
        ("html:x=1", "html has no option 'x'"),
        ("html:on=nowhere", "unknown verb 'nowhere'"),
    ],
)
def test_invalid_texts_are_refused(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse(text)


@pytest.mark.parametrize("name", KNOWN)
def test_each_is_tested_and_in_the_reference(name):
    tests = "".join(path.read_text() for path in TESTS.glob("test_*.py") if path.name != "test_script.py")
    assert f'"{name}"' in tests
    row = next(line for line in REFERENCE.read_text().splitlines() if line.startswith(f"| `{name}` |"))
    assert set(re.findall(r"`(\w+)=", row)) == set(KNOWN[name].options)
