"""Which `Host` and `Origin` a web page cannot have, neither another site's nor one by DNS rebinding."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

PRIVATE = (".internal", ".local")
"""Ends of names that the public DNS does not have (RFC 6762, ICANN): `host.docker.internal`, a cluster's services."""


def host_name(text: str) -> str:
    """Return the host in a `Host`, an `Origin` or a name given by hand, as names are compared: no port, lower case.

    ValueError where there is none.
    """
    is_bare_ipv6 = text.count(":") > 1 and not set("[/") & set(text)
    host = urlsplit(f"//[{text}]" if is_bare_ipv6 else text if "://" in text else f"//{text}").hostname or ""
    host = str(_address(host) or host).rstrip(".")
    if not host:
        raise ValueError(f"{text!r} names no host")
    return host


class Hosts:
    """Names of loopback, and those of `allowed`, in any case and with any port. ValueError for one that is no name."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(map(host_name, allowed))

    def is_own(self, text: str) -> bool:
        """Whether a `Host` or an `Origin` names loopback or an allowed host."""
        try:
            host = host_name(text)
        except ValueError:
            return False
        if host in self._allowed or host == "localhost" or host.endswith(".localhost"):
            return True
        address = _address(host)
        return address is not None and address.is_loopback

    def is_private(self, text: str) -> bool:
        """Whether a `Host` names what DNS rebinding cannot: an address, a container, what `is_own`."""
        try:
            host = host_name(text)
        except ValueError:
            return False
        return "." not in host or host.endswith(PRIVATE) or _address(host) is not None or self.is_own(text)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
