"""Settings of a project whose admin has the theme that `THEME` names, as docs/how-to/themes.md says."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

THEME = os.environ.get("THEME", "")
ROOT_URLCONF = "tests.browser.themes.urls"
JAZZMIN_SETTINGS = {"use_google_fonts_cdn": False}  # no test connects to another host
JAZZMIN_UI_TWEAKS = {"default_theme_mode": "auto"}

if THEME:
    INSTALLED_APPS = [THEME, *INSTALLED_APPS]
if THEME == "unfold":
    INSTALLED_APPS += ["tests.browser.themes.unfold_site"]
