"""Faults of the connection and of timing: lost, cut, late, slow. `hold` and `delay` are real seconds."""

from __future__ import annotations

from dataclasses import replace

from django_claude_batches.testing.emulator.http_messages import VERBS, Response

from .context import Turn, faults


def lost_answer(turn: Turn, *, hold: float = 0.0, reset: bool = False) -> Response:
    """Execute the request, and end the connection without an answer after `hold` seconds."""
    return turn.answer().sent(lost=True, delay=hold, reset=reset)


def cut_answer(turn: Turn, *, after: int | None = None, reset: bool = False) -> Response:
    """Execute the request, and end the connection `after` this number of bytes of the answer's body (default: half)."""
    answer = turn.answer()
    if not isinstance(answer.body, bytes):
        raise ValueError("cut_answer cannot cut results: use cut_mid_line or cut_at_line_end")
    sent = len(answer.body) // 2 if after is None else after
    return answer.sent(cut=True, sent_bytes=sent, reset=reset)


def never_lands(turn: Turn, *, hold: float = 0.0, reset: bool = False) -> Response:
    """Do nothing, and end the connection without an answer after `hold` seconds."""
    return Response(0, {}, b"").sent(lost=True, delay=hold, reset=reset)


def lands_late(turn: Turn, *, seconds: float = 60.0, hold: float = 0.0, reset: bool = False) -> Response:
    """Send no answer; make the batch `seconds` later by the emulator's clock, with that date."""
    return turn.respond(replace(turn.request, lands_in=seconds)).sent(lost=True, delay=hold, reset=reset)


def seen_late(turn: Turn, *, seconds: float = 60.0) -> Response:
    """Answer, but for `seconds` of the emulator's clock list no such batch, and answer calls about it with 404."""
    return turn.respond(replace(turn.request, seen_in=seconds))


def slow_answer(turn: Turn, *, delay: float = 1.0) -> Response:
    """Execute the request at once, and answer after `delay` seconds."""
    return turn.answer().sent(delay=delay)


def trickle(turn: Turn, *, piece_bytes: int = 1, pause: float = 0.01) -> Response:
    """Send the answer's body `piece_bytes` at a time, with `pause` seconds between."""
    return turn.answer().sent(piece_bytes=piece_bytes, pause=pause)


FAULTS = {
    **faults(("create",), lost_answer, cut_answer, never_lands, lands_late, seen_late),
    **faults(VERBS, slow_answer, trickle),
}
