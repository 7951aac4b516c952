"""What a benchmark found of one model: the results of all its seeds, combined.

:class:`ModelResult` is made from runs just finished (:mod:`.evaluate_runs`), or from the files of runs that were
finished at any time (:mod:`.finished_runs`). AUCs are in [0, 1]; estimates are means over seeds with 95 % intervals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from mimiidg_build.benchmark.backend_files import read_backend_summaries
from mimiidg_build.benchmark.estimates import Estimate, combine
from mimiidg_build.benchmark.published import AVERAGE, PaperTable, domain_aucs, tables_beside
from mimiidg_build.benchmark.run_files import profile_label
from mimiidg_build.benchmark.tested import evaluated_sections, tested_clips
from mimiidg_build.errors import counted
from mimiidg_build.evaluation.protocols import PROTOCOLS
from mimiidg_build.evaluation.results import NAN, Evaluation, nan_if_null, null_if_nan, nullable
from mimiidg_build.evaluation.scored_clips import by_section, read_with_clip_table
from mimiidg_build.models.backends import backend_of
from mimiidg_build.schemas.runs import NetworkSummary
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.store.store import Store
from mimiidg_build.training.loss_curve import read_loss_curves

SHOWN = PROTOCOLS["2022"].shown
"""The metrics that tables show, by the title of their column, where clips have domains and the protocol is 2022's."""

WITHOUT_DOMAINS = PROTOCOLS["2020"].shown
NO_INTERVAL = (NAN, NAN)


@dataclass(frozen=True)
class SeedResult:
    """One finished run, on one of its scores: where its files lie, and what was found.

    The evaluation may be of fewer clips than the run's own ``results.json``, where runs that know more anomalies are
    compared with it.
    """

    seed: int
    directory: Path
    summaries: tuple[NetworkSummary, ...]
    evaluation: Evaluation


@dataclass(frozen=True)
class ModelResult:
    """A model with a profile on a store, on one of its scores, combined over its seeds.

    ``epochs`` is None where the profile's own hold. ``score`` is ``""`` for the model's own. ``known_anomalies`` are so
    many of each section that the training knew. ``changes`` are the settings that differ from the profile's,
    ``settings`` all of them, as ``config.json`` has them; none: the profile's.
    """

    store: Store
    model: str
    profile: str
    epochs: int | None
    score: str
    known_anomalies: int
    runs: tuple[SeedResult, ...]
    changes: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """A line; ``to_dict`` has all numbers."""
        return f"<ModelResult {self.name}, profile {self.label}, {counted(len(self.runs), 'seed')}, on {self.store!r}>"

    # ---- Names -------------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The model, and what sets this result apart from that of the model as it is."""
        known = f", k = {self.known_anomalies}" if self.known_anomalies else ""
        return f"{self.name_without_number}{known}"

    @property
    def name_without_number(self) -> str:
        """The model and its score, or its back end, whatever the number of known anomalies."""
        if self.backend:
            return f"{self.model}/{self.backend}"
        return f"{self.model} ({self.score})" if self.score else self.model

    @property
    def backend(self) -> str | None:
        """The back end that scored the model's embeddings; None for the model's own and its further scores."""
        return backend_of(self.score)

    @property
    def label(self) -> str:
        """The profile, the epochs where they are not its own, and changed settings."""
        return profile_label(self.profile, self.epochs, changes=self.changes)

    @property
    def is_plain(self) -> bool:
        """True for a model's own score, trained on normal clips alone."""
        return not self.score and not self.known_anomalies

    @property
    def is_rival(self) -> bool:
        """True for what is a system of its own: a model's own score or a back end's, trained on normal clips alone."""
        return (not self.score or self.backend is not None) and not self.known_anomalies

    @property
    def snr_offset_db(self) -> float:
        """What the store's variant adds to every SNR of Table 1."""
        return self.store.attributes.variant.snr_offset_db

    # ---- What was found ----------------------------------------------------------------------------------------------

    @cached_property
    def evaluated(self) -> list[str]:
        """The sections (``"fan/00"``) that metrics are of, in the store's order."""
        return evaluated_sections(self.store)

    @cached_property
    def has_domains(self) -> bool:
        """Whether the clips that metrics are of have domains; releases before 2021 have none."""
        return not self.sections["auc_source"].isna().all()

    @property
    def shown(self) -> Mapping[str, str]:
        """The metrics that tables show, by the title of their column: the protocol's, where there are its domains."""
        protocol = PROTOCOLS[self.store.attributes.protocol]
        return protocol.shown if self.has_domains or not protocol.has_domains else WITHOUT_DOMAINS

    @property
    def few_clips(self) -> bool:
        """Whether means and official score are of too few test clips to say much."""
        return any(run.evaluation.few_clips for run in self.runs)

    @property
    def few_clips_notes(self) -> list[str]:
        """What the mark beside them means, where there is one."""
        return self.runs[0].evaluation.few_clips_notes

    def mean(self, metric: str) -> Estimate:
        """The arithmetic mean over sections."""
        values = [run.evaluation.means["arithmetic"][metric] for run in self.runs]
        intervals = [run.evaluation.mean_intervals.get(metric, NO_INTERVAL) for run in self.runs]
        return combine(values, intervals, few_clips=self.few_clips)

    @property
    def official_score(self) -> Estimate:
        """The protocol's: since 2022 the harmonic mean of AUC source, AUC target and pAUC of all sections."""
        values = [run.evaluation.official_score for run in self.runs]
        intervals = [run.evaluation.official_score_interval for run in self.runs]
        return combine(values, intervals, few_clips=self.few_clips)

    def section(self, section_id: str, metric: str) -> Estimate:
        """One section (``"fan/00"``)."""
        section = SectionId.parse(section_id)
        values = [float(table[metric].loc[tuple(section)]) for table in self._tables]
        intervals = [run.evaluation.section_intervals.get(section, {}).get(metric, NO_INTERVAL) for run in self.runs]
        return combine(values, intervals)

    @cached_property
    def sections(self) -> pd.DataFrame:
        """Mean over seeds of every metric; index (machine type, section)."""
        means: pd.DataFrame = self._by_section.mean()
        return means

    @cached_property
    def spread(self) -> pd.DataFrame:
        """Standard deviation over seeds of every metric; NaN with one seed."""
        deviations: pd.DataFrame = self._by_section.std(ddof=1)
        return deviations

    @property
    def _by_section(self) -> Any:
        return pd.concat(self._tables).groupby(level=["machine_type", "section"])

    @cached_property
    def _tables(self) -> list[pd.DataFrame]:
        """``SectionResults`` of every run by (machine type, section)."""
        return [run.evaluation.sections.set_index(["machine_type", "section"]) for run in self.runs]

    @cached_property
    def values(self) -> pd.DataFrame:
        """AUC per attribute value, mean over seeds; columns as ``ValueResults``."""
        every = pd.concat([run.evaluation.values for run in self.runs])
        keys = [name for name in every.columns if name != "auc"]
        return every.groupby(keys, sort=False, as_index=False).mean()  # sort=False: in the evaluation's order

    @cached_property
    def scored(self) -> Mapping[str, pd.DataFrame]:
        """The first run's scored clips by evaluated section (``"fan/00"``): domain, condition, score."""
        return self._scored_of(self.runs[0])

    @cached_property
    def scored_by_seed(self) -> list[Mapping[str, pd.DataFrame]]:
        """The scored clips of every run."""
        return [self._scored_of(run) for run in self.runs]

    def _scored_of(self, run: SeedResult) -> Mapping[str, pd.DataFrame]:
        # a run with known anomalies has no scores of them
        directory, clips = run.directory / self.score, tested_clips(self.store)
        scored = read_with_clip_table(directory, clips, is_complete=False, with_decisions=False)
        return {str(section): rows for section, rows in by_section(scored).items()}

    @cached_property
    def papers(self) -> list[PaperTable]:
        """The papers' tables whose numbers may stand beside: of the same data and recipe, and no known anomalies."""
        if self.known_anomalies or (self.epochs is not None and not self.settings):
            return []
        return tables_beside(self.store, self.model, self.profile, self.score, self.settings)

    @property
    def papers_notes(self) -> list[str]:
        """What is to be said where the papers' numbers are shown."""
        return [f"{table.source}: {note}" for table in self.papers if (note := table.notes.get(self.model))]

    @property
    def published(self) -> dict[str, tuple[float, float]]:
        """The paper's source and target AUC in %, by section and ``average``; empty for another model or dataset.

        The average is of all its sections: it stands beside the mean of the same alone.
        """
        found = domain_aucs(self.papers, self.model)
        if {place for place in found if place != AVERAGE} != set(self.evaluated):
            found.pop(AVERAGE, None)
        return found

    # ---- What was trained --------------------------------------------------------------------------------------------

    @property
    def n_networks(self) -> int:
        """Networks that one seed trained."""
        return len(self.runs[0].summaries)

    @property
    def n_parameters(self) -> int:
        """Trainable parameters of one network, the largest where they differ."""
        return max(summary.n_parameters for summary in self.runs[0].summaries)

    @property
    def training_s(self) -> float:
        """Time that training all networks took, one after the other; mean over seeds."""
        every = [sum(float(summary.training_s) for summary in run.summaries) for run in self.runs]
        return sum(every) / len(every)

    @property
    def clips_per_s(self) -> float:
        """Clips that were scored in a second, over all networks and seeds; NaN where a run does not say.

        A back end's score of a clip takes the network's embedding of it first.
        """
        n_clips, seconds = zip(*(self._scoring_of(run) for run in self.runs), strict=True)
        return sum(n_clips) / sum(seconds) if sum(seconds) else NAN

    def _scoring_of(self, run: SeedResult) -> tuple[int, float]:
        """Of one seed: the clips that were scored, and how long that took; NaN where it is not known."""
        if not self.backend:
            n_clips = sum(one.n_training_clips + one.n_test_clips for one in run.summaries)
            return n_clips, sum(nan_if_null(one.scoring_s) for one in run.summaries)
        n_test, n_every, embedding_s, scoring_s = 0, 0, 0.0, 0.0
        of_backend = {tuple(one.section_ids): one for one in read_backend_summaries(run.directory, self.backend)}
        for network in run.summaries:
            own = of_backend.get(tuple(network.section_ids))
            if own is None:
                return 0, NAN
            n_test, n_every = n_test + network.n_test_clips, n_every + network.n_training_clips + network.n_test_clips
            embedding_s, scoring_s = embedding_s + nan_if_null(own.embedding_s), scoring_s + nan_if_null(own.scoring_s)
        # the embeddings are of training clips, too, the back end's scores that are timed of test clips alone
        return n_test, embedding_s * n_test / n_every + scoring_s

    @property
    def thresholds(self) -> dict[str, float]:
        """The first run's threshold of every section (``"fan/00"``), for the model's own score or its back end's."""
        run = self.runs[0]
        of_backend = read_backend_summaries(run.directory, self.backend) if self.backend else ()
        return {
            str(section): summary.threshold[section.machine_type]
            for summary in of_backend or run.summaries
            for section in summary.section_ids
        }

    @cached_property
    def losses(self) -> dict[str, list[pd.DataFrame]]:
        """Loss curves by network, one a seed (``schemas.scores.LossCurve``); empty for a model that trains nothing."""
        curves: dict[str, list[pd.DataFrame]] = {}
        for run in self.runs:
            for name, curve in read_loss_curves(run.directory).items():
                curves.setdefault(name, []).append(curve)
        return curves

    # ---- For programs ------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain data, numbers at full precision."""
        official, shown = self.official_score, dict.fromkeys([*self.shown.values(), *WITHOUT_DOMAINS.values()])
        return {
            "model": self.model,
            "score": self.score,
            **({"backend": self.backend} if self.backend else {}),
            "known_anomalies": self.known_anomalies,
            "n_networks": self.n_networks,
            "n_parameters": self.n_parameters,
            "training_s": self.training_s,
            "profile": profile_label(self.profile, self.epochs, self.known_anomalies, self.changes),
            **({"changes": dict(self.changes)} if self.changes else {}),
            "sections": [
                {"machine_type": key[0], "section": key[1], **nullable({m: float(row[m]) for m in shown})}
                for key, row in zip(self.sections.index, self.sections.to_dict("records"), strict=True)
            ],
            "means": {metric: nullable(self.mean(metric).to_dict()) for metric in shown},
            "official_score": null_if_nan(official.value),
            "official_score_interval": [null_if_nan(official.low), null_if_nan(official.high)],
            "few_clips": self.few_clips,
            "runs": [
                {"seed": run.seed, "directory": str(run.directory), **run.evaluation.to_dict()} for run in self.runs
            ],
            "published": {name: list(aucs) for name, aucs in self.published.items()} or None,
        }
