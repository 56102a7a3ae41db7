"""What all sub-commands share: their help, their exit codes, and errors in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management.base import BaseCommand, CommandParser

from django_claude_batches.management.commands.claude_batches import BY_NAME, Command
from tests.management.conftest import Manage

ROOT = Path(__file__).parents[2]


@pytest.fixture
def parser() -> CommandParser:
    command = Command()
    command._called_from_command_line = True
    return command.create_parser("manage.py", "claude_batches")


@pytest.mark.parametrize("name", BY_NAME)
def test_help_has_an_example_that_is_right_and_the_exit_codes(
    name: str, parser: CommandParser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        parser.parse_args([name, "--help"])
    out = capsys.readouterr().out
    example = BY_NAME[name].example
    assert f"example:\n  {example}\n" in out
    assert "exit codes:" in out
    words = example.removeprefix("manage.py claude_batches ").replace('"Tags, by hand"', "Tags").split()
    assert parser.parse_args(words).word == name


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sumbit", "1"],
        ["submit"],
        ["submit", "one"],
        ["submit", "0"],
        ["submit", "-1"],
        ["submit", "9" * 30],
        ["submit", "msgbatch_a/../b"],
        ["adopt", "12"],
        ["adopt"],
        ["retry"],
        ["retry", "1", "2"],
        ["retry", "1", "--outcome", "succeeded"],
        ["retry", "1", "--max-tokens", "0"],
        ["doctor", "default"],
        ["adopt", "msgbatch_x", "--all"],
        ["status", "1", "--jsn"],
    ],
)
def test_wrong_usage_is_2(arguments: list[str], parser: CommandParser) -> None:
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(arguments)


def test_a_name_of_the_wrong_shape_says_what_names_look_like(manage: Manage) -> None:
    assert "'one' names no batch: give its number here (12) or its id at Anthropic" in manage("status", "one").err


def test_djangos_options_may_stand_behind_the_word(parser: CommandParser) -> None:
    options = parser.parse_args(["status", "--settings", "a.b", "--traceback", "--no-color", "-v", "2"])
    assert (options.settings, options.traceback, options.no_color, options.verbosity) == ("a.b", True, True, 2)


def test_the_help_of_the_command_has_the_exit_codes(parser: CommandParser) -> None:
    assert "exit codes:\n  0  " in parser.format_help()


def test_options_of_every_command_of_a_project_may_stand_behind_the_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """django-configurations replaces `create_parser` by one with two arguments, which adds an option."""
    original = BaseCommand.create_parser

    def create_parser(self: BaseCommand, prog_name: str, subcommand: str) -> CommandParser:
        parser = original(self, prog_name, subcommand)
        parser.add_argument("--configuration")
        return parser

    monkeypatch.setattr(BaseCommand, "create_parser", create_parser)
    parser = Command().create_parser("manage.py", "claude_batches")
    for words in (["status", "--configuration=A"], ["--configuration", "A", "status"]):
        options = parser.parse_args(words)
        assert (options.word, options.configuration) == ("status", "A")
    assert parser.parse_args(["status"]).configuration is None


@pytest.mark.process
def test_a_database_without_our_tables_is_one_line() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "django", "claude_batches", "status", "--settings=tests.settings"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 1
    assert ran.stdout == ""
    # Above it Django may print the warnings of system checks.
    assert ran.stderr.splitlines()[-1].startswith("CommandError: The database: ")
    assert "Traceback" not in ran.stderr
