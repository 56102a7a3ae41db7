from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.reliability.protocol.network import Network


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    """The relay that all worlds of a test use, one after the other."""
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "")
    with Network(upstream="") as relay:
        yield relay
