"""Check API keys and their Workspaces (`docs/reference/wire.md` §2.1), and the headers `Host` and `Origin`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from . import errors


class Keys:
    """The accepted keys. With `any_key`, every non-empty key is accepted, and may act on any Workspace it names.

    Because any key is accepted then, a request that a web page may have sent is refused: one with a foreign `Origin`,
    or with a `Host` that DNS rebinding could use.
    """

    def __init__(self, *, default_workspace_id: str, any_key: bool, hosts: Hosts) -> None:
        self.default_workspace_id = default_workspace_id
        self._any_key = any_key
        self._hosts = hosts
        self._workspace_ids: dict[str, str] = {}

    def add(self, key: str, *, workspace_id: str) -> None:
        self._workspace_ids[key] = workspace_id

    def workspace_for(self, headers: Mapping[str, str]) -> str:
        """Return the id of the Workspace that the call acts on, or raise a 401 or 403."""
        key = key_in(headers)
        named = headers.get("anthropic-workspace-id")
        if key in self._workspace_ids:
            own = self._workspace_ids[key]
        elif key and self._any_key:
            self._refuse_pages(headers)
            own = named or self.default_workspace_id
        else:
            raise errors.key_invalid()
        if named is not None and named != own:
            raise errors.workspace_mismatch(named)
        return own

    def _refuse_pages(self, headers: Mapping[str, str]) -> None:
        for name, is_allowed in (("host", self._hosts.is_private), ("origin", self._hosts.is_own)):
            if name in headers and not is_allowed(headers[name]):
                raise errors.page_refused(name, headers[name])


def key_in(headers: Mapping[str, str]) -> str:
    """Return the key sent: `x-api-key` wins if both headers are present."""
    if "x-api-key" in headers:
        return headers["x-api-key"].strip()
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


# Suffixes that the public DNS does not have (RFC 6762, ICANN): `host.docker.internal`, a cluster's services.
PRIVATE = (".internal", ".local")


def host_name(text: str) -> str:
    """Return the host in a `Host`, an `Origin` or a configured name, normalized: without the port, in lower case.

    Raise ValueError if there is none.
    """
    is_bare_ipv6 = text.count(":") > 1 and not set("[/") & set(text)
    host = urlsplit(f"//[{text}]" if is_bare_ipv6 else text if "://" in text else f"//{text}").hostname or ""
    host = str(_address(host) or host).rstrip(".")
    if not host:
        raise ValueError(f"{text!r} names no host")
    return host


class Hosts:
    """Names of loopback, and those of `allowed`, in any case and with any port. ValueError for an invalid name."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(map(host_name, allowed))

    def is_own(self, text: str) -> bool:
        """Return whether a `Host` or an `Origin` names loopback or an allowed host."""
        try:
            host = host_name(text)
        except ValueError:
            return False
        if host in self._allowed or host == "localhost" or host.endswith(".localhost"):
            return True
        address = _address(host)
        return address is not None and address.is_loopback

    def is_private(self, text: str) -> bool:
        """Return whether DNS rebinding cannot produce this `Host`: an address, a container, or a name that `is_own`."""
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
