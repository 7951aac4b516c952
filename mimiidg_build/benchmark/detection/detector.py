"""A trained run as a detector: scores, decisions and percentiles of recordings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimiidg_build.benchmark.detection.networks import Network
from mimiidg_build.benchmark.detection.read_networks import read_networks
from mimiidg_build.benchmark.detection.recordings import Recording, Unfit, check_name, from_samples, read_recording
from mimiidg_build.benchmark.detection.sections import UNKNOWN, official_name, section_of, sections_meant
from mimiidg_build.benchmark.train_network import choose_device
from mimiidg_build.datasets.findings import Finding, findings_frame
from mimiidg_build.errors import DataError, UsageError, printable
from mimiidg_build.progress import OnProgress, no_progress
from mimiidg_build.schemas.scores import Detections
from mimiidg_build.schemas.sections import SectionId

CLIPS_AT_ONCE = 26  # 5 MB of samples; as many as the autoencoder takes in one pass


@dataclass(frozen=True)
class Detection:
    """What a run makes of one recording.

    ``score`` is larger = more anomalous; above ``threshold`` the recording ``is_anomalous``. ``percentile`` is the
    share of the section's training clips that score lower, in %. ``notes`` say what else is to be known.
    """

    section: SectionId
    score: float
    threshold: float
    percentile: float
    notes: tuple[str, ...] = ()

    @property
    def is_anomalous(self) -> bool:
        """Whether the score is above the run's threshold, as the run decided on its test clips."""
        return self.score > self.threshold


@dataclass(frozen=True)
class FilesDetected:
    """What a run makes of files: a ``schemas.scores.Detections`` of those that were scored, in the order given, and
    the findings: an error for each file that was not, a warning for one whose score is doubtful."""

    table: pd.DataFrame
    findings: pd.DataFrame


class Detector:
    """A finished run on new recordings; :meth:`load` makes one.

    Attributes
    ----------
    directory : Path
        The run's.
    networks : list of Network
        In the order of the store's sections.
    """

    def __init__(self, directory: Path, networks: Sequence[Network]) -> None:
        self.directory, self.networks = directory, list(networks)
        self.config = self.networks[0].config

    def __repr__(self) -> str:
        """A line."""
        return f"<Detector {self.config.model} of {self.directory}>"

    @classmethod
    def load(cls, run: str | Path, device: str = "cpu", backend: str | None = None) -> Self:
        """The detector that a finished run is.

        Parameters
        ----------
        run : str or Path
            The run's folder, ``ROOT/runs/<variant>/<fingerprint>/<model>-<profile>-<seed>``. Nothing else is needed.
        device : str
            ``cpu``, ``auto`` (a GPU if there is one), or a torch device.
        backend : str, optional
            Score with this back end, which the run has been benchmarked with; by default with the model's own score.

        Returns
        -------
        Detector

        Raises
        ------
        UsageError
            There is no run in the folder, its model is none of this version, the back end has not scored it, or there
            is no such device.
        DataError
            The run is not finished, is of a version that could not detect, or a file is missing or damaged.
        """
        directory = Path(run)
        return cls(directory, read_networks(directory, choose_device(device), backend))

    @property
    def sections(self) -> list[SectionId]:
        """The sections that the run has networks for."""
        return [section for network in self.networks for section in network.sections]

    @property
    def needs_section(self) -> bool:
        """Whether a recording's score depends on its section's number, and not on its machine type alone."""
        return self.networks[0].uses_sections

    @property
    def name(self) -> str:
        """The model, or model and back end."""
        backend = self.networks[0].backend
        return f"{self.config.model}/{backend}" if backend else self.config.model

    def network_of(self, section: SectionId) -> Network:
        """The network that serves a section."""
        return next(
            network
            for network in self.networks
            if section in network.sections
            or (section.section == UNKNOWN and section.machine_type in {s.machine_type for s in network.sections})
        )

    def score(self, samples: npt.ArrayLike, sample_rate: int, section: str | None = None) -> Detection:
        """Score one recording.

        Parameters
        ----------
        samples : array_like [shape=(n_samples,) or (n_channels, n_samples)]
            int16, or floating-point at full scale 1. Of several channels the run takes those that its store holds.
        sample_rate : int, Hz
            Another one than the store's is resampled.
        section : str, optional
            ``"fan/00"``, or ``"fan"`` where that is enough; by default the run's only one.

        Returns
        -------
        Detection

        Raises
        ------
        UsageError
            The samples are of another type or shape, the run has no such section, or has several and none is named.
        DataError
            The recording is silent, too short, not finite, beyond full scale or without the reference channel that the
            run's features take; or the weights cannot be read.
        """
        meant = self.only_section(section)
        network = self.network_of(meant)
        audio = network.audio(meant)
        recording = from_samples(samples, sample_rate, audio, network.inputs.channel, network.shortest)
        (score,) = network.scores([network.features(recording.samples, audio.sample_rate)], [meant])
        notes = tuple(filter(None, (recording.note, recording.clipped)))
        return self._detection(network, meant, float(score), "the recording", notes)

    def only_section(self, wanted: str | None) -> SectionId:
        """The section that a user means, without a recording whose name could say it.

        Raises
        ------
        UsageError
            The run has no such section, or several are possible and the scores depend on which it is.
        """
        meant = self.sections if wanted is None else sections_meant(wanted, self.sections)
        if len(meant) == 1:
            return meant[0]
        if not self.needs_section and len({section.machine_type for section in meant}) == 1:
            return SectionId(meant[0].machine_type, UNKNOWN)
        raise UsageError(
            f"the run has several sections, say which: section={str(meant[0])!r}, or another of "
            f"{', '.join(map(str, meant))}"
        )

    def score_files(
        self, files: Iterable[str | Path], section: str | None = None, on_progress: OnProgress = no_progress
    ) -> FilesDetected:
        """Score recordings in files. What cannot be scored is a finding, and all others are scored.

        Parameters
        ----------
        files : iterable of str or Path
            WAV or FLAC.
        section : str, optional
            ``"fan/00"`` or ``"fan"``: where they are all from. By default, what each name and folder say in a
            layout's form, or the run's only section.
        on_progress : callable
            Called with the number of files that are done.

        Returns
        -------
        FilesDetected

        Raises
        ------
        UsageError
            The run has no such section.
        DataError
            The weights cannot be read.
        """
        possible = self.sections if section is None else sections_meant(section, self.sections)
        findings: list[Finding] = []
        placed = self._placed(list(map(Path, files)), possible, findings)
        rows: dict[Path, dict[str, Any]] = {}
        for network in self.networks:
            own = [path for path, of_file in placed.items() if self.network_of(of_file) is network]
            for paths in (own[k : k + CLIPS_AT_ONCE] for k in range(0, len(own), CLIPS_AT_ONCE)):
                for path, detection in self._scored(network, {path: placed[path] for path in paths}, findings):
                    rows[path] = _row(path, detection)
                on_progress(len(paths))
        return FilesDetected(_table([rows[path] for path in placed if path in rows]), findings_frame(findings))

    def _placed(
        self, files: Sequence[Path], possible: list[SectionId], findings: list[Finding]
    ) -> dict[Path, SectionId]:
        """Each file with its section; those without one, and of two of one name the second, are findings."""
        placed: dict[Path, SectionId] = {}
        first: dict[tuple[SectionId, str], Path] = {}
        for path in dict.fromkeys(files):
            try:
                check_name(path)
                section = section_of(path, possible, self.needs_section)
                there = first.setdefault((section, official_name(path)), path)
                if there != path:
                    raise Unfit(
                        "duplicate_clip",
                        f"{path}: has the name of {there}, and score files tell clips of a "
                        "section apart by their names. Rename it, or score it alone.",
                    )
                placed[path] = section
            except Unfit as error:
                findings.append(_finding(path, "error", error.kind, str(error)))
        return placed

    def _scored(
        self, network: Network, sections: dict[Path, SectionId], findings: list[Finding]
    ) -> Iterator[tuple[Path, Detection]]:
        """Read and score some files of one network."""
        read: dict[Path, Recording] = {}
        features = []
        for path, section in sections.items():
            audio = network.audio(section)
            try:
                recording = read_recording(path, audio, network.inputs.channel, network.shortest)
                features.append(network.features(recording.samples, audio.sample_rate, str(path)))
            except Unfit as error:
                findings.append(_finding(path, "error", error.kind, str(error)))
                continue
            if recording.clipped:
                findings.append(_finding(path, "warning", "clipped", recording.clipped))
            read[path] = recording
        scores = network.scores(features, [sections[path] for path in read]) if read else ()
        for (path, recording), score in zip(read.items(), scores, strict=True):
            notes = (recording.note,) if recording.note else ()
            yield path, self._detection(network, sections[path], float(score), str(path), notes)

    def _detection(
        self, network: Network, section: SectionId, score: float, name: str, notes: tuple[str, ...]
    ) -> Detection:
        if not np.isfinite(score):
            raise DataError(f"{name}: its score is {score}; the run's training must have diverged. Train again.")
        percentile = 100 * float((network.training_scores(section) < score).mean())
        return Detection(section, score, network.threshold[section.machine_type], percentile, notes)


def _finding(path: Path, severity: str, kind: str, message: str) -> Finding:
    """A finding; tables hold no name that is not UTF-8."""
    return Finding(severity, kind, printable(str(path)), printable(message))


def _row(path: Path, detection: Detection) -> dict[str, Any]:
    """A row of ``schemas.scores.Detections``."""
    return {
        "file": str(path),
        "machine_type": detection.section.machine_type,
        "section": detection.section.section,
        "score": detection.score,
        "threshold": detection.threshold,
        "decision": int(detection.is_anomalous),
        "percentile": detection.percentile,
        "note": "; ".join(detection.notes),
    }


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as ``schemas.scores.Detections``, whose columns have their types also where there is no row."""
    types = Detections.dtypes()
    return Detections.validate(pd.DataFrame(rows, columns=list(types)).astype(types))
