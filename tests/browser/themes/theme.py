"""The differences between themes: the places of a list's filters and actions, and the elements that apply them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils.text import capfirst


@dataclass(frozen=True)
class Theme:
    """Django's own admin; subclasses are the themes."""

    name: str = "django"

    # The width of a page on a phone, in pixels.
    narrowest: int = 360

    def filter_by(self, page: Any, title: str, choice: str) -> None:
        """Choose a filter of a list by its text."""
        page.locator("#changelist-filter").get_by_role("link", name=choice, exact=True).first.click()

    def save(self, page: Any) -> None:
        page.click("[name=_save]")

    def run_action(self, page: Any, action: str) -> None:
        """Choose an action of a list for its selected rows, and run it."""
        page.locator("select[name=action]").first.select_option(action)
        page.locator("button[name=index]:visible").first.click()


class Unfold(Theme):
    def filter_by(self, page: Any, title: str, choice: str) -> None:
        page.locator(".filter-open-button").click()
        super().filter_by(page, title, choice)


class Jazzmin(Theme):
    def filter_by(self, page: Any, title: str, choice: str) -> None:
        """Set a hidden select and notify the script that replaces it."""
        select = page.locator("select.search-filter", has=page.locator(f"option:text-is('{title}')"))
        select.select_option(choice, force=True)
        page.locator("#changelist-search button[type=submit]").click()

    def run_action(self, page: Any, action: str) -> None:
        page.locator("select[name=action]").first.select_option(action, force=True)
        page.locator("button[name=index]:visible").first.click()


class Grappelli(Theme):
    """Grappelli has no layout for narrow screens; phones show such a page 980 pixels wide."""

    def filter_by(self, page: Any, title: str, choice: str) -> None:
        page.locator(".grp-pulldown-handler").click()
        page.locator(f"label:text-is('{capfirst(title)}') + select").select_option(choice)


THEMES = {
    "unfold": Unfold("unfold"),
    "jazzmin": Jazzmin("jazzmin"),
    "grappelli": Grappelli("grappelli", narrowest=980),
}


def installed() -> Theme:
    """Return the theme that the settings name, or Django's own admin."""
    name = getattr(settings, "THEME", "")
    return THEMES[name] if name else Theme()
