"""Several variants side by side, as papers print results at several SNRs: machine types by variants. AUCs are in %."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mimiidg_build.benchmark.beside_papers import beside
from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.benchmark.results import Benchmark

Row = dict[str, str]
MEAN = "mean"


def variant_titles(benchmarks: Sequence[Benchmark]) -> list[str]:
    """What sets variants apart in a column's title: their SNR offset where that does, else their names."""
    offsets = [benchmark.snr_offset_db for benchmark in benchmarks]
    one_sweep = len({benchmark.base_variant for benchmark in benchmarks}) == 1 and len(set(offsets)) == len(offsets) > 1
    return [f"{b.snr_offset_db:+g} dB" if one_sweep else b.variant for b in benchmarks]


def variant_rows(benchmarks: Sequence[Benchmark]) -> list[Row]:
    """A row for each result and machine type, a column for each variant and their mean, the paper's beside.

    AUC over all clips, mean over a machine type's sections; ``mean`` is that of the machine types. The paper's stands
    where it is of the very sections that are evaluated.
    """
    titles = variant_titles(benchmarks)
    found: dict[tuple[str, str], dict[str, ModelResult]] = {}
    for title, benchmark in zip(titles, benchmarks, strict=True):
        for model in benchmark.models:
            found.setdefault((model.name, model.label), {})[title] = model
    papers = {key: {title: _papers(model) for title, model in results.items()} for key, results in found.items()}
    with_paper = any(numbers for by_title in papers.values() for numbers in by_title.values())
    rows = []
    for (name, label), results in found.items():
        own = {title: _own(model) for title, model in results.items()}
        for place in dict.fromkeys(place for numbers in own.values() for place in numbers):
            cells = _cells({title: numbers.get(place) for title, numbers in own.items()}, titles, "")
            if with_paper:
                beside_it = {title: numbers.get(place) for title, numbers in papers[name, label].items()}
                cells |= _cells(beside_it, titles, "paper ")
            rows.append({"model": name, "machine type": place, **cells})
    return rows


def _own(model: ModelResult) -> dict[str, float]:
    """AUC by machine type, and their mean."""
    means = model.sections["auc_all"].groupby(level="machine_type", sort=False).mean()
    by_type = {str(name): 100 * float(value) for name, value in means.items()}
    return by_type | {MEAN: float(np.mean(list(by_type.values())))}


def _papers(model: ModelResult) -> dict[str, float]:
    """The paper's, likewise."""
    found = {}
    for one in beside(model):
        types = {name.split("/")[0] for name in one.sections}
        evaluated = {name for name in model.evaluated if name.split("/")[0] in types}
        if one.metric == "auc_all" and one.sections == evaluated and "/" not in one.place:
            is_mean = len(types) > 1 or one.place not in types
            if not is_mean or one.sections == set(model.evaluated):
                found[MEAN if is_mean else one.place] = one.paper
    return found


def _cells(numbers: Mapping[str, float | None], titles: Sequence[str], prefix: str) -> Row:
    """Numbers by variant, and their mean where none is missing."""
    known = {title: value for title in titles if (value := numbers.get(title)) is not None}
    cells = {f"{prefix}{title}": f"{known[title]:.2f}" if title in known else "" for title in titles}
    mean = float(np.mean(list(known.values()))) if len(known) == len(titles) else None
    return cells | {f"{prefix}mean": "" if mean is None else f"{mean:.2f}"}
