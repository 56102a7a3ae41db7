"""Accessibility checks of a page with axe, and navigation by the keyboard."""

from __future__ import annotations

from typing import Any

GRAVE = {"serious", "critical"}

# Excluded: the label of the search field of Django's lists is an image, which axe does not accept as a label.
DJANGOS = ("label-title-only", 'id="searchbar"')

FOCUSED = """() => {
  const element = document.activeElement;
  const text = element.tagName === "INPUT" ? element.value : element.innerText;
  return element === document.body ? "" : (text || element.id).trim();
}"""

# Excluded: parts of Django's own pages, and the rows of a list after the first few, since a hundred take seconds.
CONTEXT = {"exclude": [["#header"], ["#nav-sidebar"], ["#result_list tbody tr:nth-child(n+5)"]]}


def grave_violations(page: Any, rules: list[str] | None = None, within: list[list[str]] | None = None) -> list[str]:
    """Return each serious or critical violation on the page, of these rules or of all, with its place and remedy.

    `within` are selectors of the parts to check; by default the whole page.
    """
    # An extra: imported when needed.
    from axe_playwright_python.sync_playwright import Axe

    chosen = {} if rules is None else {"runOnly": {"type": "rule", "values": rules}}
    context = CONTEXT if within is None else CONTEXT | {"include": within}
    found = Axe().run(page, context, options={"resultTypes": ["violations"], **chosen}).response["violations"]
    return [
        f"{violation['id']} ({violation['impact']}): {node['html'][:200]}: {node['failureSummary']}"
        for violation in found
        if violation["impact"] in GRAVE
        for node in violation["nodes"]
        if not (violation["id"] == DJANGOS[0] and DJANGOS[1] in node["html"])
    ]


def tab_to(page: Any, text: str, *, within: int = 60) -> None:
    """Press the tab key until the focused element has this text, in any case. Raises AssertionError if none does."""
    passed = []
    for _ in range(within):
        page.keyboard.press("Tab")
        passed.append(page.evaluate(FOCUSED))
        if passed[-1].lower() == text.lower():
            return
    raise AssertionError(f"the tab key does not reach {text!r}, only {passed}")


MARK = """() => {
  const usable = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
  const shown = [...document.querySelectorAll(`#content :is(${usable})`)].filter(
    (each) => each.checkVisibility({ visibilityProperty: true }) && !each.disabled && each.type !== "file");
  shown.forEach((each, number) => { each.dataset.number = number; });
  return shown.map((each) => each.outerHTML.slice(0, 120));
}"""

NUMBER = "() => document.activeElement.dataset.number ?? ''"

# Once around a long page, Django's header, sidebar and the rows of a list included.
MAX_TABS = 600


def out_of_reach(page: Any) -> list[str]:
    """Return what can be used with a mouse in the content of a page, and is not reached by the tab key."""
    shown = page.evaluate(MARK)
    # A group of radio buttons is one stop: the arrow keys choose within it.
    missing = {number: html for number, html in enumerate(shown) if 'type="radio"' not in html}
    for _ in range(MAX_TABS):
        if not missing:
            break
        page.keyboard.press("Tab")
        missing.pop(int(page.evaluate(NUMBER) or -1), None)
    return list(missing.values())
