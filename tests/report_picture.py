"""Draws ``.github/report.png``: two views of a report, light beside dark.

``python -m tests.report_picture REPORT [FILE]``; REPORT is the page of a variant that was benchmarked.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from mimiidg_build.report.svg import PALETTE
from tests.report.test_report_page import CHROMIUM, FLAGS

VIEW = {"width": 1200, "height": 940}
WIDTH = 1600  # of the picture


def view(chromium: Any, path: Path, scheme: str, place: str) -> Image.Image:
    """The page in a theme, from an element downwards."""
    context = chromium.new_context(viewport=VIEW, color_scheme=scheme)
    page = context.new_page()
    page.goto(path.resolve().as_uri())
    page.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    page.locator(place).evaluate("it => it.scrollIntoView()")
    page.wait_for_timeout(500)
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    context.close()
    return image


def main(report: Path, path: Path) -> None:
    """Both views side by side, in 256 colours, which takes a third of the bytes."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        places = {"light": "article[aria-label='slider/00']", "dark": "#benchmark-title"}
        views = [view(chromium, report, scheme, place) for scheme, place in places.items()]
        chromium.close()
    both = Image.new("RGB", (2 * VIEW["width"], VIEW["height"]))
    for number, image in enumerate(views):
        both.paste(image, (number * VIEW["width"], 0))
    small = both.resize((WIDTH, round(WIDTH * both.height / both.width)), Image.Resampling.LANCZOS)
    common = small.quantize(256, Image.Quantize.MEDIANCUT).getpalette() or []
    # the few pixels of source and target must not lose their colours to the many of the spectrograms
    kept = [
        int(code[k : k + 2], 16) for name in ("paper", "source", "target") for code in PALETTE[name] for k in (1, 3, 5)
    ]
    palette = Image.new("P", (1, 1))
    palette.putpalette(common[: 3 * 250] + kept)
    small.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    picture = Path(sys.argv[2]) if sys.argv[2:] else Path(__file__).parents[1] / ".github" / "report.png"
    main(Path(sys.argv[1]), picture)
