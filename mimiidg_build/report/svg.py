"""Figures as inline SVG whose colours are the page's: one drawing serves the light and the dark theme.

matplotlib draws with the light theme's colours, each of which stands for a CSS variable of the same name. Units are CSS
pixels; text stays text, in the page's font, and never is mathematics: names come from data and may hold a ``$``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# name: (light, dark). Colour-blind readers can tell source and target apart, also by marker or place.
PALETTE = {
    "ink": ("#1c2127", "#e4e7eb"),
    "faint": ("#5f6873", "#9aa4b0"),
    "line": ("#d9dde2", "#343b44"),
    "paper": ("#ffffff", "#14181d"),
    "source": ("#0b69b3", "#62b2f4"),
    "target": ("#c14a09", "#f29254"),
}
SVG = "http://www.w3.org/2000/svg"
XLINK = "{http://www.w3.org/1999/xlink}href"
_PX = 72.0  # matplotlib's SVG units per inch
_NAMES = {light: name for name, (light, _) in PALETTE.items()}
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def colour(name: str) -> str:
    """The colour to draw with, for a name of the palette.

    >>> colour("source")
    '#0b69b3'
    """
    return PALETTE[name][0]


def style() -> dict[str, object]:
    """matplotlib's settings for every figure, for ``matplotlib.rc_context``."""
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "report",  # ids are hashes: equal drawings have equal bytes
        "text.parse_math": False,
        "text.color": colour("ink"),
        "font.size": 10.5,
        "axes.facecolor": "none",
        "axes.edgecolor": colour("line"),
        "axes.labelcolor": colour("faint"),
        "axes.labelsize": 10.5,
        "axes.labelpad": 3,
        "axes.linewidth": 1,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "grid.color": colour("line"),
        "grid.linewidth": 0.7,
        "xtick.color": colour("line"),
        "ytick.color": colour("line"),
        "xtick.labelcolor": colour("faint"),
        "ytick.labelcolor": colour("faint"),
        "xtick.major.size": 3,
        "ytick.major.size": 0,
        "xtick.minor.size": 0,
        "lines.linewidth": 1.6,
    }


def canvas(
    width: float, height: float, left: float = 30, right: float = 6, top: float = 6, bottom: float = 30
) -> tuple[Figure, Axes]:
    """A figure with one pair of axes.

    Parameters
    ----------
    width, height : float
        CSS pixels, as all sizes here.
    left, right, top, bottom : float
        Room beside the axes.

    Returns
    -------
    figure : Figure
    axes : Axes
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / _PX, height / _PX), facecolor="none")
    box = (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    return figure, figure.add_axes(box)


def inline(figure: Figure, name: str, label: str, tips: Mapping[str, str] | None = None) -> Markup:
    """A figure as an ``<svg>`` element.

    Parameters
    ----------
    figure : Figure
        Drawn with colours of the palette only, under ``style()``.
    name : str
        Unique on the page: prefix of the drawing's ids.
    label : str
        What a screen reader reads out instead.
    tips : mapping of gid to str
        Text that is shown over the artists of these gids.

    Returns
    -------
    Markup

    Raises
    ------
    ValueError
        A colour is not in the palette.
    """
    drawn = io.BytesIO()
    # no date and no version: the same results give the same page
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    # otherwise tags get a prefix (ns0:svg), which HTML does not know
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(drawn.getvalue())
    _drop_unwanted(root)
    used = {target.lstrip("#") for element in root.iter() if (target := element.get(XLINK))}
    used |= {target for element in root.iter() for target in _REFERENCE.findall(" ".join(element.attrib.values()))}
    for element in root.iter():
        _clean(element, name, used, tips or {})
    for size in ("width", "height"):
        del root.attrib[size]  # viewBox stays: the page decides the size
    root.attrib |= {"role": "img", "aria-label": label}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _drop_unwanted(root: ElementTree.Element) -> None:
    """Style sheets would hold for the whole page; metadata says nothing."""
    for child in list(root):
        if child.tag == f"{{{SVG}}}metadata":
            root.remove(child)
    for defs in root.iter(f"{{{SVG}}}defs"):
        for child in defs.findall(f"{{{SVG}}}style"):
            defs.remove(child)


def _clean(element: ElementTree.Element, name: str, used: set[str], tips: Mapping[str, str]) -> None:
    """Page's colours and font, short numbers, ids only where something refers to them."""
    if text := element.attrib.pop("style", ""):
        declarations = [part.strip() for part in text.split(";") if part.strip()]
        kept = "; ".join(part for part in declarations if not part.startswith(("font-family", "font:")))
        element.set("style", re.sub(r"#[0-9a-f]{6}", _variable, kept))
    if identity := element.attrib.pop("id", ""):
        if identity in tips:
            title = ElementTree.Element(f"{{{SVG}}}title")
            title.text = tips[identity]
            element.insert(0, title)  # SVG 1.1 wants a title to be the first child
        if identity in used:
            element.set("id", f"{name}-{identity}")
    if target := element.attrib.pop(XLINK, ""):
        element.set("href", f"#{name}-{target.lstrip('#')}")
    for key, value in element.attrib.items():
        if "url(#" in value:
            element.set(key, _REFERENCE.sub(lambda match: f"url(#{name}-{match[1]})", value))
        elif key in ("d", "x", "y", "width", "height"):
            element.set(key, re.sub(r"-?[0-9]+\.[0-9]{2,}", lambda match: f"{float(match[0]):.2f}", value))
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    element.tail = None


def _variable(match: re.Match[str]) -> str:
    if match[0] not in _NAMES:
        raise ValueError(f"a figure is drawn with {match[0]}, which is not in the page's palette: {', '.join(_NAMES)}")
    return f"var(--{_NAMES[match[0]]})"
