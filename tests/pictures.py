"""Draws ``.github/machines.png``: a log-mel spectrogram of one synthetic clip per machine type.

``python -m tests.pictures [FILE]``. After Figure 1 of the MIMII DG paper (arXiv:2205.13879); clean normal clips of the
source domain, each panel 60 dB deep from its own maximum.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from mimiidg_build.features import HOP, N_MELS, SAMPLE_RATE, logmel, mel_from_hz
from mimiidg_build.synthesis.machines import synthesize_clip

# Type, section, attributes, title, and what to see.
PANELS = (
    ("fan", "00", {"m-n": "W"}, "Fan", "blade-pass tones, turbulence"),
    ("gearbox", "01", {"wt": "150"}, "Gearbox", "gear mesh under a crank's load"),
    ("bearing", "00", {"vel": "14"}, "Bearing", "shaft harmonics, housing"),
    ("slider", "00", {"vel": "500"}, "Slide rail", "to and fro, stops"),
    ("valve", "00", {"pat": "01"}, "Valve", "clicks, flow"),
)
TICKS_KHZ = (0.25, 0.5, 1, 2, 4, 8)
DEPTH_DB = 60
INK, FAINT = "#24292f", "#6e7781"


def spectrogram(machine_type: str, section: str, attributes: dict[str, str]) -> np.ndarray:
    """Log-mel [shape=(n_frames, n_mels)] of one normal clip, dB below its maximum."""
    samples = synthesize_clip(machine_type, section, "normal", attributes, 0, "picture")
    level_db: np.ndarray = logmel(np.rint(samples * 32767).astype(np.int16))
    return np.asarray(level_db - level_db.max())


def draw(axes: Axes, level_db: np.ndarray, title: str, subtitle: str) -> None:
    """One panel."""
    duration_s = len(level_db) * HOP / SAMPLE_RATE
    axes.imshow(
        level_db.T,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=-DEPTH_DB,
        vmax=0,
        extent=(0, duration_s, 0, N_MELS),
        interpolation="bilinear",
    )
    axes.set_title(title, fontsize=13, fontweight="bold", color=INK, loc="left", pad=20)
    axes.text(0, 1.025, subtitle, transform=axes.transAxes, fontsize=8.5, color=FAINT, va="bottom")
    axes.set_xlim(0, 10)
    first, _, last = axes.set_xticks([0, 5, 10], ["0", "5", "10 s"])
    first.label1.set_horizontalalignment("left")  # within the panel, clear of the one beside it
    last.label1.set_horizontalalignment("right")
    axes.tick_params(colors=FAINT, labelsize=8.5, length=3, width=0.6)
    for spine in axes.spines.values():
        spine.set_visible(False)


def main(path: Path) -> None:
    """Draw all panels side by side."""
    plt.rcParams["font.family"] = ["DejaVu Sans"]
    figure, panels = plt.subplots(1, len(PANELS), figsize=(12.6, 3.1), sharey=True, dpi=144)
    for axes, (machine_type, section, attributes, title, subtitle) in zip(panels, PANELS, strict=True):
        draw(axes, spectrogram(machine_type, section, attributes), title, subtitle)
    ticks = mel_from_hz(np.array(TICKS_KHZ) * 1000) / mel_from_hz(SAMPLE_RATE / 2) * N_MELS
    panels[0].set_yticks(ticks, [f"{tick:g}" for tick in TICKS_KHZ[:-1]] + ["8 kHz"])
    figure.subplots_adjust(left=0.042, right=0.925, top=0.82, bottom=0.1, wspace=0.08)
    box = panels[-1].get_position()
    scale = figure.colorbar(panels[0].images[0], cax=figure.add_axes((0.937, box.y0, 0.009, box.height)))
    scale.outline.set_visible(False)
    scale.set_ticks([-60, -30, 0], labels=["\N{MINUS SIGN}60", "\N{MINUS SIGN}30", "0 dB"])
    scale.ax.tick_params(colors=FAINT, labelsize=8.5, length=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, facecolor="white")
    # 256 colours are enough for one colour map, in a third of the bytes.
    Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parents[1] / ".github" / "machines.png")
