"""The finished runs on a store, as their own files tell: results, scores, thresholds, loss curves.

A *system* is a model with a profile, on one of its scores, drawn together over its seeds. Runs are read from
ROOT/runs/<variant>/<fingerprint>/, whose layout :mod:`mimiidg_build.benchmark.runs` describes; no model is imported.
AUCs are in [0, 1].
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from mimiidg_build.benchmark.results import Estimate, combine, published
from mimiidg_build.errors import DataError
from mimiidg_build.evaluation.results import Evaluation, read_results
from mimiidg_build.evaluation.scored_clips import by_section, read_with_clip_table
from mimiidg_build.models import MODELS
from mimiidg_build.storage.places import Place, local, matching
from mimiidg_build.store.store import Store, open_store
from mimiidg_build.training.loss_curve import read_loss_curves
from schemas.sections import SectionId

RESULTS = "results.json"


@dataclass(frozen=True)
class SeedRun:
    """One run: where its score files and results lie, and where those of all its scores do."""

    seed: int
    directory: Path
    run_directory: Path
    evaluation: Evaluation


@dataclass(frozen=True)
class System:
    """A model with a profile on a store: one of its scores, all seeds.

    ``score`` is ``""`` for the model's own; ``known_anomalies`` are so many of each section that its training was told
    of.
    """

    store: Store
    model: str
    label: str
    score: str
    known_anomalies: int
    runs: tuple[SeedRun, ...]

    @property
    def name(self) -> str:
        """The model, and what sets the system apart from the model as it is."""
        known = f", k = {self.known_anomalies}" if self.known_anomalies else ""
        return f"{self.model}{f' ({self.score})' if self.score else ''}{known}"

    @property
    def is_plain(self) -> bool:
        """True for a model's own score, trained on normal clips alone."""
        return not self.score and not self.known_anomalies

    @property
    def published(self) -> dict[str, tuple[float, float]]:
        """The paper's source and target AUC in %, where model and dataset are the paper's."""
        of_paper = self.store.attributes.dataset == "mimii_dg" and self.is_plain
        return published(self.model) if of_paper else {}

    def mean(self, metric: str) -> Estimate:
        """The arithmetic mean over sections."""
        of = [run.evaluation for run in self.runs]
        return combine([e.means["arithmetic"][metric] for e in of], [e.mean_intervals[metric] for e in of])

    @property
    def official_score(self) -> Estimate:
        """Harmonic mean of AUC source, AUC target and pAUC of all sections."""
        of = [run.evaluation for run in self.runs]
        return combine([e.official_score for e in of], [e.official_score_interval for e in of])

    def section(self, section_id: str, metric: str) -> Estimate:
        """One section (``"fan/00"``)."""
        section = SectionId.parse(section_id)
        values = [float(table[metric].loc[tuple(section)]) for table in self._sections]
        return combine(values, [run.evaluation.section_intervals[section][metric] for run in self.runs])

    @cached_property
    def _sections(self) -> list[pd.DataFrame]:
        """``SectionResults`` of every run by (machine type, section)."""
        return [run.evaluation.sections.set_index(["machine_type", "section"]) for run in self.runs]

    @cached_property
    def values(self) -> pd.DataFrame:
        """AUC per attribute value, mean over seeds; columns as ``ValueResults``."""
        every = pd.concat([run.evaluation.values for run in self.runs])
        keys = [name for name in every.columns if name != "auc"]
        return every.groupby(keys, sort=False, as_index=False).mean()

    @cached_property
    def scored(self) -> dict[str, pd.DataFrame]:
        """The first run's scored clips by section: domain, condition, score."""
        test = self.store.clips[self.store.clips["split"] == "test"]
        scored = read_with_clip_table(self.runs[0].directory, test, is_complete=False, with_decisions=False)
        return {str(section): rows for section, rows in by_section(scored).items()}

    @cached_property
    def summaries(self) -> list[dict[str, Any]]:
        """What the first run wrote of each network that it trained."""
        return [_read_json(path) for path in sorted(self.runs[0].run_directory.glob("summary_*.json"))]

    @property
    def n_parameters(self) -> int:
        """Trainable parameters of one network, the largest where they differ."""
        return max(int(summary["n_parameters"]) for summary in self.summaries)

    @property
    def thresholds(self) -> dict[str, float]:
        """The first run's threshold of every section."""
        return {
            name: float(summary["threshold"][name.split("/")[0]])
            for summary in self.summaries
            for name in summary["sections"]
        }

    @cached_property
    def losses(self) -> dict[str, list[pd.DataFrame]]:
        """Loss curves by part, one a seed: columns epoch, loss and held_out_loss."""
        found: dict[str, list[pd.DataFrame]] = {}
        for run in self.runs:
            for name, curve in read_loss_curves(run.run_directory).items():
                found.setdefault(name, []).append(curve)
        return found


@dataclass(frozen=True)
class Runs:
    """What there is of runs on a store."""

    systems: tuple[System, ...]
    unfinished: tuple[str, ...]  # names of directories


def read_runs(store: Store, root: Place) -> Runs:
    """Every system that was run on a store, and the runs that are not finished.

    Raises
    ------
    DataError
        A finished run's results cannot be read, or are not of this store's sections.
    """
    directory = local(root) / "runs" / store.attributes.variant.name / store.fingerprint
    grouped: dict[tuple[str, str, str, int], list[SeedRun]] = {}
    unfinished = []
    for path in sorted(directory.glob("*/config.json")):
        if not (path.parent / RESULTS).is_file():
            unfinished.append(path.parent.name)
            continue
        config = _read_json(path)
        for score, run in _seed_runs(path.parent, config, store):
            key = (str(config["model"]), _label(path.parent.name, config), score, config.get("known_anomalies", 0))
            grouped.setdefault(key, []).append(run)
    systems = [
        System(store, model, label, score, known, tuple(sorted(of, key=lambda run: run.seed)))
        for (model, label, score, known), of in grouped.items()
    ]
    return Runs(tuple(sorted(systems, key=_order)), tuple(unfinished))


def _order(system: System) -> tuple[str, int, str, str, int]:
    """Models as they are listed everywhere; one that this version does not know comes last."""
    models = list(MODELS)
    place = models.index(system.model) if system.model in models else len(models)
    return (system.label, place, system.model, system.score, system.known_anomalies)


def _seed_runs(directory: Path, config: dict[str, Any], store: Store) -> Iterator[tuple[str, SeedRun]]:
    """A run once for each of its scores: its own in the directory, further ones in folders of it."""
    for path in [directory / RESULTS, *sorted(directory.glob(f"*/{RESULTS}"))]:
        evaluation = read_results(path)
        found = {
            f"{m}/{s}" for m, s in zip(*(evaluation.sections[c] for c in ("machine_type", "section")), strict=True)
        }
        if found != set(store.sections):
            raise DataError(f"{path} is of other sections than {store.path}: {', '.join(sorted(found))}.")
        score = "" if path.parent == directory else path.parent.name
        yield score, SeedRun(int(config["seed"]), path.parent, directory, evaluation)


def _label(name: str, config: dict[str, Any]) -> str:
    """The profile as the run's directory names it, epochs included.

    >>> _label("bce-paper-3epochs-k16-0", {"model": "bce", "seed": 0, "known_anomalies": 16})
    'paper-3epochs'
    """
    known = config.get("known_anomalies", 0)
    label = name.removeprefix(f"{config['model']}-").removesuffix(f"-{config['seed']}")
    return label.removesuffix(f"-k{known}") if known else label


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        return content
    except ValueError as error:
        raise DataError(f"{path} cannot be read: {error}. Remove {path.parent} and run the benchmark again.") from None


def read_sweep(store: Store, root: Place, systems: Sequence[System]) -> dict[tuple[str, str], list[System]]:
    """The same systems on variants that differ from this store's in SNR alone, by (model, label), by rising SNR.

    Only systems with at least two SNRs are there.
    """
    everywhere = [system for system in systems if system.is_plain]
    for latest in matching(root / "variants", "*/latest"):
        if latest.parent.name == store.attributes.variant.name:
            continue
        try:
            other = open_store(latest.parent)
            if _but_snr(other) == _but_snr(store):
                everywhere += [system for system in read_runs(other, root).systems if system.is_plain]
        except DataError:
            continue  # another variant's damage is not this one's; `mimiidg list` names it
    found: dict[tuple[str, str], list[System]] = {}
    for system in sorted(everywhere, key=lambda system: snr_offset_db(system.store)):
        found.setdefault((system.model, system.label), []).append(system)
    return {key: of for key, of in found.items() if len({snr_offset_db(system.store) for system in of}) > 1}


def by_known_anomalies(systems: Sequence[System]) -> dict[tuple[str, str], list[System]]:
    """Systems that differ in the number of known anomalies alone, by (name without it, label), by rising number.

    Only those with at least two numbers are there.
    """
    found: dict[tuple[str, str], list[System]] = {}
    for system in sorted(systems, key=lambda system: system.known_anomalies):
        found.setdefault((replace(system, known_anomalies=0).name, system.label), []).append(system)
    return {key: of for key, of in found.items() if len(of) > 1}


def snr_offset_db(store: Store) -> float:
    """What a variant adds to every SNR of Table 1."""
    return store.attributes.variant.snr_offset_db


def _but_snr(store: Store) -> dict[str, Any]:
    """What a variant says, but for its name and SNR offset."""
    return store.attributes.variant.model_dump(exclude={"name", "title", "snr_offset_db"})
