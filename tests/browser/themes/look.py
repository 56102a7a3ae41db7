"""`python -m tests.browser.themes.look`: pictures, for development."""
from __future__ import annotations
import os, sys, tempfile
from pathlib import Path
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.browser.themes.settings"
django.setup()
import warnings
warnings.simplefilter("ignore")
from tests.browser.chromium import chromium
from tests.browser.console import served
from tests.browser.looks import FORMS, PAGES
from tests.browser.screenshots import _small, _taken
def main():
    out = Path(sys.argv[1]); forms = sys.argv[2].split(","); names = sys.argv[3:]
    out.mkdir(exist_ok=True, parents=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser, served(browser, Path(folder), policy="") as console:
        office = console.furnish()
        for form in forms:
            how = dict(FORMS[form])
            if form != "narrow": how["viewport"] = {"width": 1280, "height": 800}
            page, _ = console.log_in(office.ada, **how)
            for name in names:
                PAGES[name](page, office)
                page.wait_for_load_state("domcontentloaded")
                (out / f"{os.environ.get('THEME','django')}-{name}-{form}.png").write_bytes(_small(_taken(page, how["viewport"])))
main()
