"""A root with all that a report can show: a small synthetic store, an SNR sweep, two detectors, one unfinished run."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.build.variant import build_variant
from mimiidg_build.cli.report import report
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.store.store import Store
from tests.conftest import DATASET, link_archive, link_archives, once

SECTIONS = ["fan", "valve/01"]
MODELS = ["autoencoder", "nearest_neighbour"]
VOID = {"meta", "link", "img", "input", "br", "wbr"}


def case_root(factory: pytest.TempPathFactory, archives: Path) -> Path:
    """A root of one's own with that case, which is made once in a test run."""
    root = factory.mktemp("case") / "root"
    shutil.copytree(once(factory, "case", lambda path: make_case(path, archives)), root, copy_function=link_archive)
    return root


def reported_case(factory: pytest.TempPathFactory, archives: Path) -> tuple[Path, dict[str, Any]]:
    """The same, and what ``mimiidg report`` says to a program of the page that it has written there, once, too."""

    def make(directory: Path) -> None:
        root = directory / "root"
        shutil.copytree(once(factory, "case", lambda path: make_case(path, archives)), root, copy_function=link_archive)
        done = CliRunner().invoke(report, ["case", "--root", str(root), "--json", "--quiet"], catch_exceptions=False)
        (directory / "told").write_text(done.stdout)

    made, root = once(factory, "reported", make), factory.mktemp("case") / "root"
    shutil.copytree(made / "root", root, copy_function=link_archive)
    return root, json.loads((made / "told").read_text().replace(str(made / "root"), str(root)))


def make_case(root: Path, archives: Path) -> Store:
    """Build variant ``case`` at two SNRs from archives that are there, and benchmark it."""
    link_archives(archives, root)
    variant = derive_variant(load_variant("demo"), dataset=DATASET, sections=SECTIONS).model_copy(
        update={"name": "case"}
    )
    store = build_variant(variant, root).store
    benchmark_models(store, root, MODELS, profile="smoke", epochs=2, seeds=2, device="cpu", workers=1)
    louder = build_variant(derive_variant(variant, snr_offset_db=6.0), root).store
    benchmark_models(louder, root, ["nearest_neighbour"], profile="smoke", device="cpu", workers=1)
    run = root / "runs" / "case" / store.fingerprint / "autoencoder-smoke-2epochs-0"
    unfinished = run.with_name("autoencoder-smoke-5epochs-0")
    unfinished.mkdir()
    shutil.copy(run / "config.json", unfinished)
    return store


class Page(HTMLParser):
    """What a test asks of a page: its tables, ids, references and the text of every element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, list[dict[str, str]]] = {}
        self.numbers: dict[str, list[dict[str, str]]] = {}
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self._rows: list[list[list[str]]] = []
        self._data: list[list[str]] = []
        self._caption = ""
        self.feed(html)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        assert len(given) == len(attrs), f"{tag} has an attribute twice: {attrs}"
        self.elements.append((tag, given))
        if tag in VOID:
            return
        self._open.append(tag)
        if tag == "table":
            self._rows, self._data, self._caption = [], [], ""
        elif tag == "tr":
            self._rows.append([])
            self._data.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append([])
            self._data[-1].append(given.get("data-number", ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-1:]}"
        self._open.pop()
        if tag == "table":
            rows = [[" ".join(" ".join(cell).split()) for cell in row] for row in self._rows]
            self.tables[self._caption] = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
            self.numbers[self._caption] = [dict(zip(rows[0], row, strict=True)) for row in self._data[1:]]

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("style", "script"):
            return
        self.text.append(data)
        if "caption" in self._open:
            self._caption += data
        elif self._open and {"td", "th"} & set(self._open):
            if self.elements[-1][0] == "wbr":  # a place where a word may break is not between two words
                data = self._rows[-1][-1].pop() + data
            self._rows[-1][-1].append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every element of a kind."""
        return [given for name, given in self.elements if name == tag]
