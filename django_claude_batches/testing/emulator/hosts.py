"""Which `Host` and `Origin` a web page cannot have, neither another site's nor one by DNS rebinding."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit


def host_name(text: str) -> str:
    """Return the host in a `Host`, an `Origin` or a name given by hand, as names are compared: no port, lower case.

    ValueError where there is none.
    """
    is_bare_ipv6 = text.count(":") > 1 and not set("[/") & set(text)
    host = urlsplit(f"//[{text}]" if is_bare_ipv6 else text if "://" in text else f"//{text}").hostname or ""
    with contextlib.suppress(ValueError):
        host = str(ipaddress.ip_address(host))
    if not host.rstrip("."):
        raise ValueError(f"{text!r} names no host")
    return host.rstrip(".")


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
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False
