"""Validate arguments before they reach a URL or a header. No message shows a key."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.wire import BATCH_ID_PATTERN

PATH = "/v1/messages/batches"

# A name or an address. requests ends a host at other characters, such as a backslash, where urllib does not.
HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+(?:%[a-z0-9]+)?")


def problem_with_key(api_key: object) -> str | None:
    """Return what is wrong with a key without showing it; None if nothing is."""
    if not isinstance(api_key, str) or not api_key:
        return "api_key must be a non-empty text; set ANTHROPIC_API_KEY or pass the key"
    if re.search(r"\s", api_key):
        return "api_key holds white space or a line break; was it read from a file with its last newline?"
    if not re.fullmatch(r"[\x21-\x7e]+", api_key):
        return "api_key holds characters that cannot stand in a header"
    return None


def problem_with_url(base_url: str, *, allow_http: bool = False) -> str | None:
    """Return what is wrong with a base URL without showing a password in it; None if nothing is."""
    try:
        parts = urlsplit(base_url)
        is_usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # an extra bracket, an invalid port
        is_usable = False
    is_usable = is_usable and bool(HOST.fullmatch(parts.hostname or ""))
    if not is_usable or parts.query or parts.fragment or "@" in parts.netloc:
        return "base_url must be like https://api.anthropic.com, without user, query and fragment"
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname or ""):
        return (
            f"base_url would send the key in the clear to {parts.hostname}. Use https, or set ALLOW_HTTP (the client's "
            "allow_http) for a gateway in a private network"
        )
    return None


def is_loopback(host: str) -> bool:
    """Return whether a host of a URL is this machine by its name or address alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def checked_id(id: object) -> str:  # noqa: A002 (the API's word)
    """Return a batch's id that is safe in a URL as it is; raise InvalidRequest for anything else."""
    if not isinstance(id, str) or not BATCH_ID_PATTERN.fullmatch(id):
        raise InvalidRequest(f"{id!r:.80} is not a batch's id; one looks like msgbatch_013Zva2CMHLNnXjNJJKqJ2EF")
    return id


def path_of(id: str, verb: str = "") -> str:  # noqa: A002 (the API's word)
    """Return the path of a batch, or of an action (`/cancel`, `/results`) on it."""
    return f"{PATH}/{checked_id(id)}{verb}"


def header(name: str, value: str | None) -> dict[str, str]:
    """Return one header, none for None; raise InvalidRequest for an invalid value."""
    if value is None:
        return {}
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise InvalidRequest(f"{value!r:.80} cannot be sent as {name}")
    return {name: value}


def beta_header(betas: Iterable[str]) -> dict[str, str]:
    """Return `anthropic-beta` for these betas, each once, in their order."""
    return header("anthropic-beta", ",".join(dict.fromkeys(betas)) or None)
