"""Settings for pages: an invalid setting does not break the page, and a notice shows the failed check."""

from __future__ import annotations

from django_claude_batches import conf
from django_claude_batches.pricing import PriceTable


def known_accounts() -> list[str]:
    """Return the aliases of the accounts in the settings; none if the settings are invalid."""
    try:
        return sorted(conf.accounts())
    except conf.ConfigurationError:
        return []


def known_installation() -> str:
    """Return the name of this installation; empty if the settings are invalid."""
    try:
        return conf.installation()
    except conf.ConfigurationError:
        return ""


def known_prices() -> PriceTable | None:
    """Return the prices; None if the settings are invalid."""
    try:
        return conf.prices()
    except conf.ConfigurationError:
        return None
