"""Who may call: API keys, each of one Workspace (`docs/reference/wire.md` §2.1)."""

from __future__ import annotations

from collections.abc import Mapping

from . import errors
from .hosts import Hosts


class Keys:
    """The keys that are taken. With `any_key`, each non-empty one is, and it may act on any Workspace it names.

    Any key is accepted then, so a request that a web page may have sent is refused: one with a foreign `Origin`, or
    with a `Host` that DNS rebinding could use.
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
    """Return the key sent: `x-api-key` counts where both forms are there."""
    if "x-api-key" in headers:
        return headers["x-api-key"].strip()
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
