"""Check that a page shows the hostile outputs only as text."""

from __future__ import annotations

from typing import Any

from tests.browser.hostile.outputs import OUTPUTS

TAKEN_FOR_MARKUP = r"""(html) => {
  const page = html === null ? document : new DOMParser().parseFromString(html, "text/html");
  const found = [];
  const addresses = ["href", "src", "action", "formaction", "data", "srcdoc", "xlink:href"];
  for (const element of page.querySelectorAll("*"))
    for (const {name, value} of element.attributes) {
      const leads = addresses.includes(name) ? value.replace(/[\x00-\x20]/g, "") : "";
      const runs = /^(javascript|vbscript|data:text)/i.test(leads);
      if (name === "data-hostile" || name.startsWith("on") || runs) found.push(element.outerHTML.slice(0, 300));
    }
  return found;
}"""
TEXT = """(content) => {
  const values = [...content.querySelectorAll("input, textarea")].map((element) => element.value);
  const titles = [...content.querySelectorAll("[title]")].map((element) => element.title);
  return [content.textContent, ...values, ...titles].join("\\n");
}"""


def shown(page: Any, *, within: str = "#content") -> set[str]:
    """Return the names of the hostile outputs whose beginning is visible unchanged."""
    text = page.eval_on_selector(within, TEXT)
    return {name for name, output in OUTPUTS.items() if output[:40] in text}


def taken_for_markup(page: Any, html: str | None = None) -> list[str]:
    """Return the elements, of the page or of other HTML, with an attribute or an address of a hostile output."""
    found: list[str] = page.evaluate(TAKEN_FOR_MARKUP, html)
    return found
