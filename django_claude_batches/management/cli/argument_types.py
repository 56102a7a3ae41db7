"""Argument types that validate values as their columns do."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import cast

from django.core.exceptions import ValidationError
from django.db import models


def valid(model: type[models.Model], column: str) -> Callable[[str], str]:
    """Return an argparse type that validates as the model's column does."""
    field = cast("models.Field[str, str]", model._meta.get_field(column))

    def read(text: str) -> str:
        try:
            return str(field.clean(text, None))
        except ValidationError as error:
            reason = " ".join(error.messages)
        raise argparse.ArgumentTypeError(reason)

    return read
