"""Parse faults and bends from the command line."""

from __future__ import annotations

import json
import re
from typing import Any

from .bends import Bend
from .context import verbs_of
from .random_bends import LISTS, RandomBends, bend_of
from .script import known

SCRIPT = re.compile(
    r"(?P<name>[\w+]+|\*)(?P<when>@((?P<first>\d+)(-(?P<last>\d+))?|(?P<always>\*)|(?P<percent>[\d.]+)%))?(:(?P<options>.*))?",
    re.DOTALL,
)


def parse(text: str) -> dict[str, Any]:
    """Parse `NAME@WHEN:key=value,key=value` into arguments of `Faults.add`, or raise ValueError.

    WHEN is `N` for the N-th request of the fault's verbs, `N-M`, `*` for each, or `P%` for a share; by default the
    first. Values are JSON, or else texts. `on=` takes one verb or several, joined by `+`; `batch=` an id.
    """
    matched = SCRIPT.fullmatch(text)
    if matched is None:
        raise ValueError(f"{text!r} is not a fault: write NAME, NAME@N, NAME@N-M, NAME@* or NAME@P%, then :key=value,…")
    name, options = matched["name"], _options(matched["options"])
    placed = {key: options.pop(key) for key in ("on", "batch") if key in options}
    if "on" in placed:
        placed["on"] = verbs_of(placed["on"].split("+"))
    known(name, options)
    return {"name": name} | _when(matched) | placed | options


def parse_bend(text: str) -> Bend | RandomBends:
    """Parse `ENDPOINT@WHEN:key=value,key=value` into a bend, or raise ValueError.

    ENDPOINT is one or several, joined by `+`, or `*` for all. WHEN is as for faults, by default each answer. The keys
    are the arguments of `Bend`, or with `random` as the ENDPOINT those of `RandomBends`; several values of `spare` are
    joined by `+`.
    """
    matched = SCRIPT.fullmatch(text)
    if matched is None:
        raise ValueError(
            f"{text!r} is not a bend: write ENDPOINT, ENDPOINT@N, ENDPOINT@* or ENDPOINT@P%, then :key=value,…"
        )
    name, options = matched["name"], _options(matched["options"])
    when = _when(matched) if matched["when"] else {}
    options |= {key: options[key].split("+") for key in LISTS if key in options}
    if name != "random":
        return bend_of(**when, **options | ({} if name == "*" else {"endpoint": name.split("+")}))
    if set(when) - {"share", "times"}:
        raise ValueError(f"{text!r}: random bends apply to each answer or to a share of them, such as random@30%")
    return bend_of(at_random=True, share=when.get("share", 1.0 if when else RandomBends.share), **options)


def _when(matched: re.Match[str]) -> dict[str, Any]:
    if matched["always"]:
        return {"times": None}
    if matched["percent"]:
        return {"times": None, "share": float(matched["percent"]) / 100}
    first = int(matched["first"] or 1)
    return {"at": first, "times": int(matched["last"] or first) - first + 1}


def _options(text: str | None) -> dict[str, Any]:
    pairs = (pair.partition("=") for pair in re.split(r",(?=\w+=)", text)) if text else ()
    return {key: _value(value) for key, _, value in pairs}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
