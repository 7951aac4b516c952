"""How often 95 % intervals hold the truth: AUC, pAUC, means and official scores, simulated.

``python -m tests.benchmarks.coverage``, two minutes on a core. Scores are drawn from normal distributions, whose AUCs,
pAUCs and means follow by integration; each draw is a whole test set, with 5, 20 and 50 clips in each cell (section,
domain, condition). A figure is the share of draws whose interval holds the truth: of 1,000 draws, with a standard error
of 0.7 points at 95 %. It prints the table of ``tests/README.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.special import ndtr

from mimiidg_build.evaluation.confidence import Interval
from mimiidg_build.evaluation.influence import Conditions, SectionInfluence, section_influence
from mimiidg_build.evaluation.intervals import mean_interval, official_interval
from mimiidg_build.evaluation.protocols import PROTOCOLS, official_score
from mimiidg_build.evaluation.roc import MAX_FPR, Floats, mcclish, partial_area
from mimiidg_build.evaluation.section_metrics import Cells
from mimiidg_build.schemas.sections import SectionId
from tests.benchmarks import Ratio, parser, report

SIZES = (5, 20, 50)
NOMINAL, MARGIN = 95, 2
# AUC source and target of the autoencoder over the 15 sections of MIMII DG (arXiv:2205.13879, Table 3), in %
TABLE_3 = """84.69/39.35 71.69/44.74 80.54/63.49 64.63/64.79 67.66/58.12 75.38/65.57 57.48/63.07 71.03/61.04 42.34/52.91
81.92/58.04 67.85/50.30 86.66/38.78 54.24/52.73 50.45/53.01 51.56/43.84"""

Truth = Mapping[SectionId, Mapping[str, float]]
Influences = Mapping[SectionId, SectionInfluence]


@dataclass(frozen=True)
class Shape:
    """Mean and standard deviation of a section's scores in its four cells, in the order of ``Cells``."""

    means: tuple[float, ...]
    deviations: tuple[float, ...]

    def draw(self, n: int, rng: np.random.Generator) -> list[Floats]:
        """n scores of each cell."""
        return [rng.normal(mean, width, n) for mean, width in zip(self.means, self.deviations, strict=True)]

    def truth(self) -> dict[str, float]:
        """The metrics of a test set without end."""
        thresholds = np.linspace(40.0, -40.0, 80_001)
        shapes = zip(self.means, self.deviations, strict=True)
        source, source_anomaly, target, target_anomaly = (ndtr((mean - thresholds) / width) for mean, width in shapes)
        normal, anomaly = (source + target) / 2, (source_anomaly + target_anomaly) / 2
        curves = {"_source_within": (source, source_anomaly), "_target_within": (target, target_anomaly)}
        areas = {"_source": (source, anomaly), "_target": (target, anomaly), "_all": (normal, anomaly), **curves}
        partial = {"": (normal, anomaly), **curves}
        return {f"auc{name}": float(partial_area(*rates)) for name, rates in areas.items()} | {
            f"pauc{name}": float(mcclish(partial_area(*rates, MAX_FPR), MAX_FPR)) for name, rates in partial.items()
        }


def shape_of(source: float, target: float, widths: tuple[float, float, float] = (1.0, 1.3, 1.2)) -> Shape:
    """A section with these AUCs; widths of normal clips of the source, of the target, and of anomalous clips."""
    inverse, (of_source, of_target, of_anomaly) = NormalDist().inv_cdf, widths
    anomaly = inverse(source) * float(np.hypot(of_source, of_anomaly))
    target_mean = anomaly - inverse(target) * float(np.hypot(of_target, of_anomaly))
    return Shape((0.0, anomaly, target_mean, anomaly), (of_source, of_anomaly, of_target, of_anomaly))


@dataclass(frozen=True)
class Quantity:
    """One row of the table: what is estimated, what it is in truth, and its interval."""

    title: str
    metrics: tuple[str, ...]
    truth: Callable[[Truth], float]
    interval: Callable[[Influences], Interval | None]


def mean_of(title: str, metrics: Sequence[str], mean: str = "arithmetic", by_type: bool = False) -> Quantity:
    """A mean of metrics over sections; of one section, the metric itself."""

    def truth(sections: Truth) -> float:
        values = np.array([[row[name] for name in metrics] for row in sections.values()])
        return float(values.mean() if mean == "arithmetic" else 1 / (1 / values).mean())

    return Quantity(title, tuple(metrics), truth, lambda found: mean_interval(found, metrics, mean, by_type))


def official(title: str, name: str) -> Quantity:
    """The official score of a protocol."""

    def truth(sections: Truth) -> float:
        return official_score([{**row, "machine_type": key.machine_type} for key, row in sections.items()], name)

    return Quantity(title, PROTOCOLS[name].official, truth, lambda found: official_interval(found, PROTOCOLS[name]))


@dataclass(frozen=True)
class Design:
    """A test set, with what is estimated on it."""

    sections: Mapping[SectionId, Shape]
    quantities: Sequence[Quantity]
    has_domains: bool = True

    def counts(self, n: int, draws: int, seed: int) -> Floats:
        """How often each interval holds the truth, of draws with n clips a cell."""
        rng = np.random.default_rng([seed, n])
        sections = {key: self._truth(shape) for key, shape in self.sections.items()}
        truth = [quantity.truth(sections) for quantity in self.quantities]
        names = {name for quantity in self.quantities for name in quantity.metrics}
        held = np.zeros(len(truth))
        for _ in range(draws):
            found = {
                key: section_influence(self._cells(shape.draw(n, rng)), names) for key, shape in self.sections.items()
            }
            for number, quantity in enumerate(self.quantities):
                low, high = quantity.interval(found) or (np.nan, np.nan)
                held[number] += low <= truth[number] <= high
        return held

    def _truth(self, shape: Shape) -> dict[str, float]:
        truth = shape.truth()
        if self.has_domains:
            return truth
        return {"auc_all": truth["auc_source_within"], "pauc": truth["pauc_source_within"]}

    def _cells(self, drawn: Sequence[Floats]) -> Cells | Conditions:
        if self.has_domains:
            return Cells(*drawn)
        source, source_anomaly, _, _ = drawn
        return source, source_anomaly


def sections(shapes: Sequence[Shape], per_type: int = 3) -> dict[SectionId, Shape]:
    """Sections of machine types of ``per_type`` each."""
    return {SectionId(f"type{n // per_type}", f"{n % per_type:02d}"): shape for n, shape in enumerate(shapes)}


def one_section(what: str, shape: Shape) -> Design:
    """One section's own metrics."""
    metrics = {"AUC": "auc_source", "pAUC": "pauc", "AUC within": "auc_source_within"}
    truth = shape.truth()
    quantities = [mean_of(f"{title} {truth[name]:.2f}{what}", [name]) for title, name in metrics.items()]
    return Design(sections([shape]), quantities)


def designs() -> list[Design]:
    """Everything that is measured."""
    table_3 = [shape_of(*(float(auc) / 100 for auc in pair.split("/"))) for pair in TABLE_3.split()]
    alike = (1.0, 1.0, 1.0)
    single = [one_section("", shape_of(auc, auc, alike)) for auc in (0.5, 0.7, 0.9, 0.98)]
    single += [one_section(", wide anomalies", shape_of(0.7, 0.6, (1.0, 1.0, 2.0)))]
    single += [one_section(", wide normal clips", shape_of(0.7, 0.6, (1.5, 1.5, 1.0)))]
    many = "15 sections as Table 3"
    means = [
        mean_of(f"mean AUC, {many}", ["auc_source"]),
        mean_of(f"harmonic mean AUC, {many}", ["auc_target"], "harmonic"),
        mean_of(f"mean pAUC, {many}", ["pauc"]),
        mean_of(f"harmonic mean pAUC, {many}", ["pauc"], "harmonic"),
        official(f"official score 2022, {many}", "2022"),
        official(f"official score 2021, {many}", "2021"),
    ]
    few = [mean_of("mean AUC, 3 sections", ["auc_source"]), official("official score 2022, 3 sections", "2022")]
    near_1 = [
        mean_of("mean AUC 0.97, 6 sections", ["auc_source"]),
        official("official score, AUCs 0.97 and 0.90", "2022"),
    ]
    low = [
        mean_of("harmonic mean AUC, half of them 0.15", ["auc_target"], "harmonic"),
        official("official score 2022, half of target AUCs 0.15", "2022"),
        official("official score 2021, half of target AUCs 0.15", "2021"),
    ]
    ids = [
        official("official score 2020, 6 types of 3 IDs", "2020"),
        official("mean AUC of MIMII, 6 types of 3 IDs", "mimii"),
    ]
    return [
        *single,
        Design(sections(table_3), means),
        Design(sections(table_3[:3]), few),
        Design(sections([shape_of(0.97, 0.9)] * 6), near_1),
        Design(sections([shape_of(0.6, 0.15)] * 3 + [shape_of(0.8, 0.6)] * 3), low),
        Design(sections([*table_3, *table_3[:3]]), ids, has_domains=False),
        Design(sections([shape_of(0.7, 0.55)]), [official("official score 2022, 1 section", "2022")]),
    ]


def main(arguments: Sequence[str] | None = None) -> list[Ratio]:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--draws", type=int, default=1000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", default="", help="the rows whose title has this in it")
    given = options.parse_args(arguments)
    rows, found = [], []
    for design in (one for one in designs() if any(given.only in quantity.title for quantity in one.quantities)):
        held = np.array([design.counts(n, given.draws, given.seed) for n in SIZES]) / given.draws * 100
        titles = [quantity.title for quantity in design.quantities]
        rows += [
            {"": title, **{f"{n} clips": f"{share:.1f}" for n, share in zip(SIZES, shares, strict=True)}}
            for title, shares in zip(titles, held.T, strict=True)
        ]
        found.append(held)
    every = np.concatenate(found, axis=1)
    ratios = [
        Ratio(
            f"rows within {MARGIN} points of {NOMINAL} %, {n} clips a cell", 100 * float(inside.mean()), 90, unit=" %"
        )
        for n, inside in zip(SIZES, np.abs(every - NOMINAL) <= MARGIN, strict=True)
    ]
    report(
        "coverage", f"how often 95 % intervals hold the truth, in % of {given.draws:,} draws", rows, ratios, given.save
    )
    return ratios


if __name__ == "__main__":
    main()
