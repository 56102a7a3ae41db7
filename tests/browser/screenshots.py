"""Take screenshots of the pages: `python -m tests.browser.screenshots [--out FOLDER]`.

With `--out`, of each page in each form; without, those that the docs show, in docs/screenshots.

For a theme: in the environment of its lane, with THEME and DJANGO_SETTINGS_MODULE=tests.browser.themes.settings,
`--first --form light --form dark --out docs/screenshots/themes/unfold batch-complete`
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from tests.browser.chromium import chromium, why_not  # noqa: E402  models need the setup
from tests.browser.console import Console, served  # noqa: E402
from tests.browser.looks import FORMS, PAGES, pictures_in_docs  # noqa: E402

# Pixels of the height: the rest of a longer page looks the same.
TALLEST = 2400

# Colors of a picture's palette: enough for text and bars, and a third of the size.
COLORS = 128


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FOLDER")
    parser.add_argument("--form", action="append", choices=list(FORMS), help="all without")
    parser.add_argument("--first", action="store_true", help="only the first screen, in all of its colors")
    parser.add_argument("pages", nargs="*", help="their names; all without", choices=[[], *PAGES])
    options = parser.parse_args()
    if missing := why_not():
        print(missing, file=sys.stderr)
        return 1
    options.shown = None if options.out or options.pages else pictures_in_docs()
    options.out = options.out or Path("docs/screenshots")
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser, served(browser, Path(folder)) as console:
        _take_all(console, options)
    return 0


def _take_all(console: Console, options: argparse.Namespace) -> None:
    office = console.furnish()
    for form in options.form or FORMS:
        how = FORMS[form]
        page, _watch = console.log_in(office.ada, **how)
        for name in options.pages or PAGES:
            path = options.out / f"{name}-{form}.png"
            if options.shown is not None and path.name not in options.shown:
                continue
            PAGES[name](page, office)
            picture = page.screenshot() if options.first else _small(_taken(page, how["viewport"]))
            path.write_bytes(picture)
            print(f"{path}: {path.stat().st_size // 1000} kB", flush=True)
        page.context.close()


def _taken(page: Any, viewport: dict[str, int]) -> bytes:
    """Return a PNG of the page, up to the maximum height."""
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size(viewport | {"height": min(max(height, viewport["height"]), TALLEST)})
    picture: bytes = page.screenshot(animations="disabled", caret="hide")
    page.set_viewport_size(viewport)
    return picture


def _small(picture: bytes) -> bytes:
    """Return the PNG with a palette."""
    # An extra: imported when needed.
    from PIL import Image

    out = io.BytesIO()
    full = Image.open(io.BytesIO(picture)).convert("RGB")
    # Maximum coverage: a palette by frequency would make the few red pixels of a bar brown.
    quantized = full.quantize(COLORS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    quantized.save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
