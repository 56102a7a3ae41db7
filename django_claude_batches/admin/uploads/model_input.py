"""The input for a model's name: a list of known models with their prices, or any other name."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from django_claude_batches import conf
from django_claude_batches.pricing import MILLION, PriceTable, bundled


class ModelInput(forms.TextInput):
    """A text input with suggestions, which the browser shows without a script."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        list_id = f"{name}-names"
        field = super().render(name, value, {**(attrs or {}), "list": list_id}, renderer)
        options = format_html_join("", '<option value="{}">{}</option>', priced_models(_prices()))
        return format_html('{}<datalist id="{}">{}</datalist>', field, list_id, options)


def priced_models(prices: PriceTable) -> list[tuple[str, str]]:
    """Return each model with its price in USD per million tokens in a batch.

    If the price depends on the prompt's length, it is the lower one.
    """
    found = []
    for model in prices.models:
        costs = {
            "input": prices.cost(model, input_tokens=MILLION, prompt_tokens=0),
            "output": prices.cost(model, output_tokens=MILLION, prompt_tokens=0),
        }
        words = _("%(input)s in, %(output)s out") % {kind: _exact_dollars(cost) for kind, cost in costs.items()}
        notice = prices.retirement(model)
        found.append((model, f"{words}. {notice}" if notice else words))
    return found


def _exact_dollars(cost: Decimal | None) -> str:
    if cost is None:
        return "?"
    return f"${cost:.2f}" if cost == round(cost, 2) else f"${cost.normalize():f}"


def model_warnings(model: str, prices: PriceTable) -> list[str]:
    """Return warnings about a model before a batch is drafted: the model is not known, or retires soon."""
    found = [prices.retirement(model)]
    if model and prices.price(model) is None:
        found.append(
            _("%(model)s is not a known model: if Anthropic has no model of that name, each request fails.")
            % {"model": model}
        )
    return list(filter(None, found))


def _prices() -> PriceTable:
    try:
        return conf.prices()
    except conf.ConfigurationError:  # a failed check, which a notice shows; the page still opens
        return bundled()
