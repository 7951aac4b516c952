"""The page about recordings that were scored: all of them in a table, and those that stand out to look at and hear.

Self-contained as the report is, with its style and script. A recording's picture is how far its log-mel lies above
(red) or below (blue) the mean of its section's training clips, by band and time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mimiidg_build import __version__
from mimiidg_build.audio.level import level
from mimiidg_build.benchmark.detection.detector import Detector, FilesDetected
from mimiidg_build.benchmark.detection.recordings import read_recording
from mimiidg_build.benchmark.run_files import label_of
from mimiidg_build.datasets.rows import records
from mimiidg_build.report.cells import Cell, PageTable, number
from mimiidg_build.report.detection.differences import Difference, band_edges_hz, loudest_differences
from mimiidg_build.report.gallery import LOUDEST, MAX_GAIN_DB, TICKS_KHZ, encode_image, encode_sound
from mimiidg_build.report.svg import PALETTE
from mimiidg_build.report.templating import fill
from mimiidg_build.report.written import written
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.variants import FeatureSettings

N_SHOWN = 12  # recordings to look at: some 60 kB each
RANGE_DB = 20.0  # of a picture, above and below the mean


@dataclass(frozen=True)
class Shown:
    """A recording to look at; ``image`` (empty where a store has no statistics) and ``sound`` are data URIs, ``ticks``
    frequencies in kHz and their height in the image, in %."""

    file: str
    section: str
    summary: str
    note: str
    sound: str
    image: str = ""
    ticks: tuple[tuple[str, float], ...] = ()
    differences: PageTable | None = None


def detection_page(detector: Detector, found: FilesDetected) -> str:
    """The page as text.

    Parameters
    ----------
    detector : Detector
    found : FilesDetected
        What its ``score_files`` gave.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    DataError
        A recording that was scored cannot be read any more.
    """
    config, rows = detector.config, records(found.table)
    n_anomalous = sum(row["decision"] for row in rows)
    content = {
        "summary": f"{n_anomalous:,} of {len(rows):,} recordings anomalous",
        "model": f"{detector.name} ({label_of(config)} profile, seed {config.seed})",
        "data": detector.networks[0].inputs.data,
        "table": _all_of_them(rows) if rows else None,
        "findings": _findings(found) if len(found.findings) else None,
        "shown": [_shown(detector, row) for row in most_unusual(detector, rows)],
        "range_db": RANGE_DB,
        "run": detector.directory,
        "variant": {"name": config.variant},
        "fingerprint": config.fingerprint,
        "palette": PALETTE,
        "version": __version__,
        "written": written(),
    }
    return fill("detections.html", content)


def most_unusual(detector: Detector, rows: list[dict[str, Any]], n: int = N_SHOWN) -> list[dict[str, Any]]:
    """The recordings whose scores lie furthest above those of their section's training clips, in their spread."""

    def excess(row: dict[str, Any]) -> float:
        section = SectionId(row["machine_type"], row["section"])
        scores = detector.network_of(section).training_scores(section)
        return float((row["score"] - scores.mean()) / max(scores.std(), np.finfo(np.float64).tiny))

    return sorted(rows, key=excess, reverse=True)[:n]


def _all_of_them(rows: list[dict[str, Any]]) -> PageTable:
    columns = ("Recording", "Section", "Score", "Threshold", "Decision", "Percentile", "Note")
    cells = (
        (
            Cell(row["file"]),
            Cell(f"{row['machine_type']}/{row['section']}"),
            number(row["score"], 4),
            number(row["threshold"], 4),
            Cell("anomalous", tone="error") if row["decision"] else Cell("normal"),
            number(row["percentile"], 1),
            Cell(row["note"]),
        )
        for row in rows
    )
    return PageTable("All recordings", columns, tuple(cells))


def _findings(found: FilesDetected) -> PageTable:
    rows = (
        (Cell(row["severity"], tone=row["severity"]), Cell(row["kind"].replace("_", " ")), Cell(row["message"]))
        for row in records(found.findings)
    )
    return PageTable("Findings", ("Severity", "Kind", "What was found"), tuple(rows))


def _shown(detector: Detector, row: dict[str, Any]) -> Shown:
    """Read a recording again: keeping all of them until it is known which are shown would take too much memory."""
    section = SectionId(row["machine_type"], row["section"])
    network = detector.network_of(section)
    audio, inputs = network.audio(section), network.inputs
    samples = read_recording(Path(row["file"]), audio, inputs.channel, network.shortest).samples
    heard = network.heard(samples)
    peak = level(heard)[1]
    gain_db = min(MAX_GAIN_DB, 20 * math.log10(LOUDEST / peak)) if peak else 0.0
    summary = f"score {row['score']:.4g}, threshold {row['threshold']:.4g}, percentile {row['percentile']:.1f}"
    sound = encode_sound(heard, gain_db, audio.sample_rate)
    plain = Shown(row["file"], str(section), summary, row["note"], sound)
    statistics = network.band_statistics(section)
    if statistics is None:
        return plain
    logmel = network.logmel(samples, audio.sample_rate).astype(np.float64)
    mean_db, std_db = statistics
    image = encode_image((logmel - mean_db) / (2 * RANGE_DB) + 0.5, "RdBu_r")
    differences = loudest_differences(logmel, mean_db, std_db, inputs.features, audio.sample_rate)
    ticks = tuple(_ticks(inputs.features, audio.sample_rate))
    return replace(plain, image=image, ticks=ticks, differences=_differences(row["file"], differences))


def _ticks(features: FeatureSettings, sample_rate: int) -> Iterator[tuple[str, float]]:
    """Frequencies that lie within the bands."""
    edges_hz = band_edges_hz(features, sample_rate)
    for tick in TICKS_KHZ:
        place = float(np.interp(1000 * tick, edges_hz, np.arange(len(edges_hz)))) / (len(edges_hz) - 1)
        if 0 < place < 1:
            yield f"{tick:g}", round(100 * place, 2)


def _differences(file: str, found: list[Difference]) -> PageTable:
    columns = ("From [s]", "To [s]", "From [Hz]", "To [Hz]", "Above the mean [dB]", "Standard deviations")
    rows = (
        (
            number(one.from_s, 2),
            number(one.to_s, 2),
            number(one.from_hz),
            number(one.to_hz),
            number(one.difference_db, 1),
            number(one.deviations, 1),
        )
        for one in found
    )
    return PageTable(f"Loudest differences of {Path(file).name}", columns, tuple(rows))
