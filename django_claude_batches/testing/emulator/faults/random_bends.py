"""Random bends, drawn for each answer: a random part of it is changed in a random way."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from random import Random
from typing import Any, get_args

from django_claude_batches.testing.emulator.downloads import Outgoing
from django_claude_batches.testing.emulator.http_messages import VERBS, Response

from .bends import KINDS, Bend, Body, Listing, Spoiling
from .context import Fault, Turn, verbs_of
from .fields import ERROR, FIELDS, PAGE, decoded, is_field, paths, read
from .mutations import HOWS

# Headers that are changed even if the answer does not have them.
HEADERS = (
    *("request-id", "anthropic-workspace-id", "anthropic-organization-id", "date", "server", "content-type"),
    *("content-length", "content-encoding", "retry-after", "retry-after-ms", "x-should-retry", "location"),
)

# Share of the bent fields of a listing that belong to an entry; the others are the page's own.
ENTRY_SHARE = 0.8

STATUSES = (
    *(200, 201, 202, 204, 206, 299, 301, 302, 304, 307, 400, 401, 402, 403, 404, 408, 409, 410, 413, 418, 422, 429),
    *(451, 499, 500, 501, 502, 503, 504, 520, 529, 599),
)
WEIGHTS = {"field": 10, "header": 5, "listing": 3, "body": 2, "status": 1}
LISTS = frozenset({"endpoint", "spare"})

# The script's name of random bends; the ledger names the bend that was drawn.
DRAWN = "drawn"

# Not the bodies that last until the client's total time limit, nor those that are expensive to read.
BODIES: tuple[Body, ...] = ("slow", "cut", "inflated")

# Seconds that a slow body takes, so that thousands of answers can be bent in a minute.
SLOWEST = 0.2

# Draws before an answer that is almost wholly spared is left unchanged.
TRIES = 10


@dataclass(frozen=True, kw_only=True)
class RandomBends:
    """A different random bend for each of a `share` of the answers (0 to 1), drawn by `seed` (default: the emulator's).

    `key` selects only the calls with that API key, `endpoint` those of these verbs. `spare` are patterns of bends that
    are never drawn, in the ledger's form without `to` and `how`: ``"create:status=*"``, ``"results:field=custom_id"``,
    ``"list:listing=empty"``, ``"*:header=date"``. ``*`` matches anything. Raises ValueError, which lists the allowed
    values, for an invalid one.
    """

    share: float = 0.3
    seed: int | str | None = None
    key: str | None = None
    endpoint: str | tuple[str, ...] = ()
    spare: tuple[str, ...] = ()

    batch = None
    at = 1
    times = None

    def __post_init__(self) -> None:
        verbs_of(self.endpoint, called="endpoint")  # raises for an unknown one
        for pattern in self.spare:
            verb, _, what = pattern.partition(":")
            kind, _, _ = what.partition("=")
            if not any(fnmatchcase(each, verb) for each in VERBS) or not any(fnmatchcase(each, kind) for each in KINDS):
                raise ValueError(
                    f"{pattern!r} matches no bend: write ENDPOINT:KIND=WHAT, where ENDPOINT is one of "
                    f"{', '.join(VERBS)}, KIND one of {', '.join(KINDS)}, and * matches anything"
                )

    @property
    def endpoints(self) -> tuple[str, ...]:
        return verbs_of(self.endpoint)

    def spoiling(self, random: Random) -> Spoiling:
        """Return what is scripted. `random` draws, unless there is a seed."""
        drawing = random if self.seed is None else Random(str(self.seed))  # noqa: S311
        return Spoiling(DRAWN, Fault(bent_at_random, self.endpoints or VERBS), {"random": drawing, "spare": self.spare})


def bend_of(*, at_random: bool = False, **arguments: Any) -> Bend | RandomBends:
    """Return the bend of these arguments, which may come from JSON. Raises ValueError for an unknown argument."""
    kind: type[Bend | RandomBends] = RandomBends if at_random else Bend
    known = [each.name for each in dataclasses.fields(kind)]
    for name in arguments:
        if name not in known:
            raise ValueError(f"{kind.__name__} has no {name!r}. It has: {', '.join(known)}")
    several = {name: tuple(value) for name, value in arguments.items() if name in LISTS and isinstance(value, list)}
    return kind(**(arguments | several))


def arguments_of(bend: Bend | RandomBends) -> dict[str, Any]:
    """Return the arguments from which `bend_of` makes the same bend, as JSON values."""
    given = {each.name: getattr(bend, each.name) for each in dataclasses.fields(bend)}
    defaults = {each.name: each.default for each in dataclasses.fields(bend)}
    told = {name: value for name, value in given.items() if value is not defaults[name]}
    return told | ({"at_random": True} if isinstance(bend, RandomBends) else {})


def bent_at_random(turn: Turn, *, random: Random, spare: tuple[str, ...]) -> Response:
    """Bend the answer in one way, unless every draw is spared."""
    answer = turn.answer()
    answered = replace(turn, respond=lambda _request: answer)
    for _try in range(TRIES):
        bend = _draw(turn.verb, answer, random)
        spoiling = bend.spoiling(random)
        if not is_spared(turn.verb, bend, spare):
            bent = spoiling.fault.spoil(answered, **spoiling.options)
            return replace(bent, faults=[*answer.faults, spoiling.label])
    return answer


def is_spared(verb: str, bend: Bend, spare: tuple[str, ...]) -> bool:
    """Return whether one of these patterns matches the bend of an answer to `verb`."""
    return any(fnmatchcase(f"{verb}:{bend.what}", pattern) for pattern in spare)


def _draw(verb: Any, answer: Response, random: Random) -> Bend:
    kinds = [kind for kind in WEIGHTS if kind != "listing" or verb == "list"]
    kind = random.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]
    how: Any = random.choice(list(HOWS))
    match kind:
        case "field":
            entry, fields = _fields(verb, answer, random)
            if fields:
                return Bend(endpoint=verb, field=random.choice(fields), entry=entry, how=how)
        case "listing":
            seconds = random.choice([1.0, 60.0, 600.0])
            return Bend(endpoint=verb, listing=random.choice(get_args(Listing)), seconds=seconds)
        case "status":
            return Bend(endpoint=verb, status=random.choice(STATUSES))
        case "body":
            size = random.choice([1_000, 100_000, 3_000_000])
            return Bend(endpoint=verb, body=random.choice(BODIES), seconds=SLOWEST, size=size)
    return Bend(endpoint=verb, header=random.choice(sorted({*answer.headers, *HEADERS})), how=how)


def _fields(verb: str, answer: Response, random: Random) -> tuple[int | None, list[str]]:
    """Choose an entry or a line of the answer, if any, and return it with its fields; otherwise those of the whole."""
    if isinstance(answer.body, Outgoing):
        lines = answer.body.lines
        entry = random.randrange(len(lines)) if lines else None
        document = None if entry is None else read(lines[entry].raw)
    else:
        document, entry = decoded(answer), None
    entries = document.get("data") if isinstance(document, dict) else None
    if verb == "list" and isinstance(entries, list):
        entry = random.randrange(len(entries)) if entries and random.random() < ENTRY_SHARE else None
        document = dict.fromkeys(PAGE) if entry is None else entries[entry]
    fields = [".".join(map(str, path)) for path in paths(document)] if isinstance(document, dict) else []
    return None if entry is None else entry + 1, [field for field in fields if is_field(field, FIELDS[verb] + ERROR)]
