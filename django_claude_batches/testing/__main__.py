"""The emulator as a command: `python -m django_claude_batches.testing --port 8788`."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import signal
import sys
from typing import Any

from .emulator import ClaudeEmulator
from .emulator.auth import host_name
from .emulator.faults.bends import Bend
from .emulator.faults.command_line import parse, parse_bend
from .emulator.faults.random_bends import RandomBends
from .emulator.faults.script import KNOWN
from .emulator.replies import Replies

ENDING = (signal.SIGINT, signal.SIGTERM)

GUIDE = """\
Set these variables for the app, and leave the emulator running. Press Ctrl-C to stop it.
  export ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY={key}
"""


def main(arguments: list[str] | None = None) -> int:
    """Serve until TERM or Ctrl-C. The first line printed is the URL, once it answers."""
    parser = _parser()
    options = parser.parse_args(arguments)
    # Wait for the signal instead of handling it: a handler that sets an Event could block on the Event's own lock.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        emulator = _emulator(options)
    except (OSError, ValueError) as error:
        parser.exit(1, f"cannot use {options.state}: {error}\n")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(emulator)
        except (OSError, OverflowError) as error:
            parser.exit(1, f"cannot serve on 127.0.0.1:{options.port}: {error}\n")
        sys.stdout.write(f"{emulator.url}\n" + GUIDE.format(url=emulator.url, key=emulator.api_key))
        sys.stdout.flush()
        signal.sigwait(ENDING)
    return 0


def _emulator(options: argparse.Namespace) -> ClaudeEmulator:
    emulator = ClaudeEmulator(
        port=options.port,
        seconds=options.seconds,
        replies=options.replies,
        api_key=options.api_key,
        any_key=options.api_key is None,
        seed=options.seed,
        state=options.state,
        allow_hosts=options.allow_host,
    )
    for fault in options.fault:
        emulator.fault(**fault)
    for bend in options.bend:
        emulator.bend(bend)
    return emulator


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m django_claude_batches.testing",
        description="Serve Anthropic's Message Batches API on 127.0.0.1, for tests and demos.",
    )
    parser.add_argument("--port", type=int, default=8788, help="the port; 0 picks a free one (default: 8788)")
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=5.0,
        help='seconds after which a batch ends, or "never" (default: 5)',
    )
    parser.add_argument(
        "--replies",
        type=_replies,
        metavar="MODULE:FUNCTION",
        help="the function of params and custom_id that returns Claude's answers (default: an echo)",
    )
    parser.add_argument("--api-key", help="the only key that is accepted (default: any key)")
    parser.add_argument("--seed", help="repeat ids, keys, the order of results, and random draws")
    parser.add_argument(
        "--state",
        metavar="FILE",
        help="store the emulator's state in this file, also across a kill",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        type=host_name,
        metavar="NAME",
        help="allow this host, besides loopback names, as Host and Origin of requests to /_emulator/ and of requests "
        "with any key; may be repeated",
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        type=_fault,
        metavar="NAME[@WHEN][:KEY=VALUE,...]",
        help="apply a fault to the N-th request of its verbs (@N), or @N-M, @* for each, @P%% for a share of them; "
        f"may be repeated. NAME is one of {', '.join(sorted(KNOWN))}",
    )
    parser.add_argument(
        "--bend",
        action="append",
        default=[],
        type=_bend,
        metavar="ENDPOINT[@WHEN]:KEY=VALUE,...",
        help="change each answer to this verb, or those of WHEN (as for --fault): KEY is field, header, status, "
        "listing or body, with to or how; random@P%% changes that share of all answers at random; may be repeated",
    )
    return parser


def _seconds(text: str) -> float | None:
    return None if text == "never" else float(text)


def _replies(text: str) -> Replies:
    module, _, name = text.partition(":")
    try:
        replies: Replies = getattr(importlib.import_module(module), name)
    except (AttributeError, ImportError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None
    return replies


def _fault(text: str) -> dict[str, Any]:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _bend(text: str) -> Bend | RandomBends:
    try:
        return parse_bend(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
