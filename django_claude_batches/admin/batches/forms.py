"""The form of a draft: the fields that can be changed before it is sent."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from django_claude_batches.models import MessageBatch

EDITABLE_FIELDS = ("label", "kind", "account", "betas")

# One name in the `anthropic-beta` header.
BETA = re.compile(r"[a-zA-Z0-9._-]+", re.ASCII)


class BetasField(forms.Field):
    """A list of names, written with commas, as in the header."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [name.strip() for name in str(value or "").split(",") if name.strip()]

    def validate(self, value: Any) -> None:
        for name in value:
            if not BETA.fullmatch(name):
                text = _("%(name)s is not a valid name of a beta: use letters, digits, dots, dashes and underscores.")
                raise forms.ValidationError(text, params={"name": name})


class DraftForm(forms.ModelForm):  # type: ignore[type-arg]
    # Accounts to which the draft can be moved; the page sets them to those that the user may see.
    aliases: Collection[str] = ()

    account = forms.ChoiceField(label=_("Account"))
    betas = BetasField(
        label=_("Betas"), required=False, help_text=_("Names for the anthropic-beta header, separated by commas.")
    )

    class Meta:
        model = MessageBatch
        fields = EDITABLE_FIELDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        account = self.fields.get("account")
        if isinstance(account, forms.ChoiceField):
            # The current one too: saving a label must not change an account that was removed from the settings.
            account.choices = [(alias, alias) for alias in sorted({*self.aliases, self.instance.account})]
