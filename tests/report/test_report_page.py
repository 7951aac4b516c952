"""The report in a real browser: Debian's Chromium, opened from disk, no network."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mimiidg_build.report.leaderboard.written import write_leaderboard
from mimiidg_build.store.store import open_store
from tests.report_case import reported_case

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; on Debian, `apt-get install chromium`"),
    pytest.mark.usefixtures("one_thread"),
]
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
PAPER = {"width": 1032, "height": 703}  # A4 sideways without its margins of 12 mm, in CSS pixels
A4_SIDEWAYS = (842, 595)  # points
FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]


@pytest.fixture(scope="module")
def report(synthetic_archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(reported_case(tmp_path_factory, synthetic_archives)[1]["path"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


class Opened:
    """A page, and everything that it complained about or asked the network for."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(viewport=options.pop("viewport", DESKTOP), **options)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.resolve().as_uri())

    def close(self) -> None:
        """Whatever a test did, nothing was complained about, and nothing but the file was asked for."""
        self.context.close()
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith("data:")] == self.requests[:1]
        assert self.requests[0].startswith("file:")


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Opened]:
    it = Opened(browser, report)
    yield it
    it.close()


def wait_until(page: Any, expression: str) -> None:
    """Until it is true. The driver's own way to wait is an eval, which the page's policy does not let happen."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"still not: {expression}")


def box_of_every(page: Any, selector: str) -> list[list[float]]:
    found: list[list[float]] = page.eval_on_selector_all(
        selector, "of => of.map(it => { const box = it.getBoundingClientRect(); return [box.width, box.height]; })"
    )
    return found


def test_charts_and_pictures_are_drawn(opened: Opened) -> None:
    page = opened.page
    page.eval_on_selector_all("details", "of => of.forEach(it => it.open = true)")
    page.eval_on_selector_all(".system", "of => of.forEach(it => it.hidden = false)")
    charts = box_of_every(page, ".chart svg")
    assert len(charts) > 30 and min(width for width, _ in charts) > 100 and min(height for _, height in charts) > 40
    marks = box_of_every(page, ".chart svg path")
    assert sum(width > 0 or height > 0 for width, height in marks) > 300
    decoded = page.eval_on_selector_all(
        "img", "of => Promise.all(of.map(it => it.decode().then(() => it.naturalWidth)))"
    )
    assert decoded == [313] * 48
    # curves are drawn in the page's own colours, not in black, which is what an unknown variable gives
    source = page.evaluate("getComputedStyle(document.querySelector('.key.source')).color")
    strokes = page.eval_on_selector_all(".chart svg path", "of => of.map(it => getComputedStyle(it).stroke)")
    assert source in strokes and "rgb(0, 0, 0)" not in strokes


def test_sound_plays_one_at_a_time(opened: Opened) -> None:
    page = opened.page
    first, second = page.locator(".play").nth(0), page.locator(".play").nth(1)
    first.click()
    wait_until(page, "document.querySelectorAll('audio')[0].currentTime > 0.2")
    assert first.get_attribute("aria-pressed") == "true"
    assert page.evaluate("document.querySelectorAll('audio')[0].duration") == pytest.approx(10, abs=0.1)
    line = page.locator(".playhead").nth(0)
    assert line.is_visible() and float(line.evaluate("it => parseFloat(it.style.left)")) > 1
    second.focus()
    page.keyboard.press("Enter")
    wait_until(page, "document.querySelectorAll('audio')[1].currentTime > 0.1")
    assert page.evaluate("[...document.querySelectorAll('audio')].filter(it => !it.paused).length") == 1
    assert [it.get_attribute("aria-pressed") for it in (first, second)] == ["false", "true"]
    page.keyboard.press("Space")
    wait_until(page, "document.querySelectorAll('audio')[1].paused")


def test_every_sound_can_be_played(opened: Opened) -> None:
    """play() resolves only where the browser can decode."""
    played = opened.page.evaluate(
        """async () => {
            let played = 0;
            for (const it of document.querySelectorAll('audio')) { await it.play(); it.pause(); played += 1; }
            return played;
        }"""
    )
    assert played == 48


def column(page: Any, table: str, number: int) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        f"{table} tbody tr", f"of => of.map(it => it.cells[{number}].textContent.trim())"
    )
    return found


def test_tables_sort(opened: Opened) -> None:
    """By number and by word, both ways, from the keyboard; what stands at the end stays there."""
    page = opened.page
    title = page.locator("#dataset thead th").nth(6)
    assert title.inner_text() == "Power a [dB]"
    title.locator("button").focus()
    powers = [float(text.replace("−", "-")) for text in column(page, "#dataset", 6)]
    page.keyboard.press("Enter")
    assert title.get_attribute("aria-sort") == "descending", "numbers: the best first"
    descending = [float(text.replace("−", "-")) for text in column(page, "#dataset", 6)]
    assert descending == sorted(powers, reverse=True) != powers
    assert page.locator("#said").inner_text() == "sorted by Power a [dB], descending"
    page.keyboard.press("Enter")
    assert [float(text.replace("−", "-")) for text in column(page, "#dataset", 6)] == sorted(powers)
    assert title.get_attribute("aria-sort") == "ascending"
    page.locator("#dataset thead button").nth(0).click()
    assert column(page, "#dataset", 0) == ["fan/00", "fan/01", "fan/02", "valve/01"]
    assert page.locator("#dataset th[aria-sort]").count() == 1, "one column sorts at a time"
    system = page.locator(".system:not([hidden]) table").first
    system.locator("thead button").nth(2).click()
    assert system.locator("tfoot th").all_inner_texts() == ["mean", "official score"]


def test_a_leaderboard_opens_and_sorts(browser: Any, report: Path) -> None:
    """Best first; the cheapest first once that is asked for. In the dark theme its colours are the page's."""
    root = report.parents[2]
    page_file = write_leaderboard(open_store(root / "variants/case"), root)
    it = Opened(browser, page_file, color_scheme="dark")
    names = column(it.page, "#systems", 0)
    assert set(names) == {"autoencoder", "nearest_neighbour"}
    assert it.page.locator("#systems th[aria-sort]").inner_text() == "Official score"
    titles = it.page.locator("#systems thead th").all_inner_texts()
    it.page.locator("#systems thead button").nth(titles.index("Parameters")).click()
    assert column(it.page, "#systems", 0) == ["nearest_neighbour", "autoencoder"]
    unfinished = it.page.locator("#absent tbody tr").first
    assert unfinished.locator("td").all_inner_texts()[:2] == ["smoke-5epochs-0", "not finished"]
    assert it.page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") == "rgb(20, 24, 29)"
    it.close()


def test_headers_show_that_they_sort_and_how(opened: Opened) -> None:
    page = opened.page
    arrows = """of => of.map(it => getComputedStyle(it.querySelector('button'), '::after').content)"""

    def shown(table: str) -> list[str]:
        found: list[str] = page.eval_on_selector_all(f"{table} thead th", arrows)
        return [text.strip('"') for text in found]

    assert set(shown("#dataset")) == {"↕"}
    page.locator("#dataset thead button").nth(6).click()
    assert shown("#dataset")[5:8] == ["↕", "▼", "↕"]
    page.locator("#dataset thead button").nth(6).click()
    assert shown("#dataset")[6] == "▲"
    official = page.locator("#benchmark table").first.locator("th[aria-sort]")
    assert (official.inner_text(), official.get_attribute("aria-sort")) == ("Official score", "descending")


def test_csv_is_saved_from_the_file(opened: Opened, tmp_path: Path) -> None:
    """A press on the link, on a page that was opened from disk, gives a file."""
    with opened.page.expect_download() as saved:
        opened.page.locator("#dataset a.csv").click()
    assert saved.value.suggested_filename == "case-sections-clips-mean-power-before-mixing-attenuation-and-snr.csv"
    saved.value.save_as(tmp_path / "table.csv")
    lines = (tmp_path / "table.csv").read_text("utf-8-sig").splitlines()
    assert lines[0].startswith("Section,Domain shift,Clips,") and lines[1].startswith("fan/00,")


@pytest.mark.parametrize("size", [{"width": 1280, "height": 800}, PHONE])
def test_the_result_is_on_the_first_screen(browser: Any, report: Path, size: dict[str, int]) -> None:
    it = Opened(browser, report, viewport=size)
    box = it.page.locator(".headline").bounding_box()
    assert box["y"] >= 0 and box["y"] + box["height"] <= size["height"]
    assert "Best system" in it.page.locator(".headline").inner_text()
    it.close()


def test_systems_are_shown_one_by_one(opened: Opened) -> None:
    page = opened.page
    shown = page.locator(".system:visible")
    first, second = page.locator(".system h4").all_text_contents()[:2]
    assert shown.count() == 1 and shown.locator("h4").text_content() == first
    page.locator("#system input").first.focus()
    page.keyboard.press("ArrowRight")
    assert shown.count() == 1 and shown.locator("h4").text_content() == second != first


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)`` (WCAG 2)."""
    channels = [float(part) / 255 for part in colour[4:-1].split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(browser: Any, report: Path, scheme: str) -> None:
    """As the system wants, until the reader chooses; text stands out by 4.5 to 1 in both."""
    it = Opened(browser, report, color_scheme=scheme)

    def colours() -> tuple[float, list[float]]:
        background = it.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        of = ["h1", ".lead", ".key.source", ".key.target", "#attributes svg text", ".badge", ".warning .tone"]
        script = (
            "of => { const style = getComputedStyle(of); return of.localName === 'text' ? style.fill : style.color; }"
        )
        return luminance(background), [luminance(it.page.locator(what).first.evaluate(script)) for what in of]

    for dark in (scheme == "dark", scheme != "dark"):
        background, texts = colours()
        assert (background < 0.05) == dark
        for text in texts:
            assert (max(text, background) + 0.05) / (min(text, background) + 0.05) >= 4.5
        assert it.page.locator("#theme").get_attribute("aria-pressed") == str(dark).lower()
        it.page.locator("#theme").click()
    it.page.reload()
    assert (colours()[0] < 0.05) == (scheme == "dark"), "what was chosen last is remembered"
    it.requests = it.requests[:1]
    it.close()


def test_phone(browser: Any, report: Path) -> None:
    """Nothing sticks out sideways: what is wider than the screen scrolls within itself."""
    it = Opened(browser, report, viewport=PHONE)
    assert it.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert it.page.locator("nav a").first.is_visible()
    assert min(width for width, _ in box_of_every(it.page, ".spectrogram")) > 150
    it.close()


def test_on_a_phone_tables_say_that_they_go_on(browser: Any, report: Path) -> None:
    """Until they are scrolled to their end; the rows' names stay in sight."""
    it = Opened(browser, report, viewport=PHONE)
    cue, table = it.page.locator("#dataset .more"), it.page.locator("#dataset .scroll")
    wait_until(it.page, "document.querySelector('#dataset .tabled').classList.contains('goes-on')")
    assert cue.is_visible() and cue.inner_text().startswith("more columns")
    table.evaluate("it => { it.scrollLeft = it.scrollWidth; }")
    wait_until(it.page, "!document.querySelector('#dataset .tabled').classList.contains('goes-on')")
    assert not cue.is_visible()
    assert it.page.locator("#dataset tbody th").first.bounding_box()["x"] >= 0
    it.close()


def test_nothing_is_cut_on_paper(browser: Any, report: Path) -> None:
    """A4 sideways: tables, legends and every chart's text lie within the page, without the parts that are pressed."""
    it = Opened(browser, report, viewport=PAPER)
    it.page.emulate_media(media="print")
    assert it.page.evaluate("document.documentElement.scrollWidth") == PAPER["width"]
    cut = it.page.eval_on_selector_all(
        "table, caption, th, td, .legend, .legend span, .chart, .chart svg text, .headline div, .facts, .example, p",
        """(of, width) => of.filter(it => it.checkVisibility()).map(it => [it, it.getBoundingClientRect()])
            .filter(([it, box]) => box.left < -1 || box.right > width + 1)
            .map(([it, box]) => `${it.localName} ${it.textContent.slice(0, 40)} ${box.left} ${box.right}`)""",
        PAPER["width"],
    )
    assert cut == []
    scrolled = it.page.eval_on_selector_all(".scroll", "of => of.filter(it => it.scrollWidth > it.clientWidth).length")
    assert scrolled == 0
    assert not it.page.locator("nav").is_visible() and not it.page.locator("a.csv").first.is_visible()
    assert it.page.locator(".system:visible").count() == 2
    drawn = it.page.pdf(prefer_css_page_size=True)
    boxes = {tuple(round(float(edge)) for edge in box.split()) for box in re.findall(rb"/MediaBox \[([^\]]*)\]", drawn)}
    assert boxes == {(0, 0, *A4_SIDEWAYS)}
    it.close()


def test_without_script(browser: Any, report: Path) -> None:
    """Everything is there and sounds have the browser's own controls."""
    it = Opened(browser, report, java_script_enabled=False)
    assert it.page.locator("audio").first.is_visible() and not it.page.locator(".play").first.is_visible()
    assert it.page.locator(".system:visible").count() == 2
    it.close()
