"""Remove secrets from texts of responses before they are stored or shown."""

from __future__ import annotations

import re
from collections.abc import Iterable

REDACTED = "[redacted]"

# Characters. A shorter one ("any", "test") also occurs in ordinary words, and would make them unreadable.
MIN_SECRET = 6


class Redactor:
    """Replace secrets in a text, in upper or lower case and with characters escaped as JSON or URLs do.

    Not found are a secret in base64, in HTML entities or in pieces, and one of fewer than 6 characters. It has no repr
    of its own, so the secrets are in none.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first: if one begins with another, all of it is replaced.
        kept = sorted({secret.lower() for secret in secrets if len(secret) >= MIN_SECRET}, key=len, reverse=True)
        self._secrets = kept
        self._pattern = re.compile("|".join(map(_spelled, kept)), re.IGNORECASE) if kept else None

    def __call__(self, text: str) -> str:
        if self._pattern is None:
            return text
        # Nothing is escaped, as in nearly all answers: two fast searches suffice.
        if "\\" not in text and "%" not in text:
            lower = text.lower()
            if not any(secret in lower for secret in self._secrets):
                return text
        return self._pattern.sub(REDACTED, text)


def _spelled(secret: str) -> str:
    """Return a pattern that matches the secret with any of its characters escaped."""
    return "".join(map(_character, secret))


def _character(character: str) -> str:
    # JSON within JSON doubles the backslashes. Their number is bounded, so that the search stays linear.
    forms = [re.escape(character)] if character.isalnum() else [rf"\\{{0,4}}{re.escape(character)}"]
    for either in sorted({character, *character.upper()} if len(character.upper()) == 1 else {character}):
        forms += [rf"\\\\{{0,3}}u00{ord(either):02x}", f"%{ord(either):02x}"]
    return f"(?:{'|'.join(forms)})"
