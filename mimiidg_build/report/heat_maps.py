"""Heat maps as tables: AUCs of systems by section, and by attribute value. In %, coloured by distance from chance."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mimiidg_build.benchmark.cross_table import OWN, crossed, metrics_of
from mimiidg_build.benchmark.cross_table import estimate as cross_estimate
from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.datasets.rows import records
from mimiidg_build.models.backends import BACKENDS
from mimiidg_build.report.cells import Cell, PageTable, attribute_value, heat, number
from mimiidg_build.report.headline import ranked
from mimiidg_build.schemas.manifests import DOMAINS

N_SHOWN = 16  # systems with charts of their own, which take 0.4 MB of the page each


def by_section(results: Sequence[ModelResult]) -> PageTable:
    """Two rows a system, source and target; a column a section. The best system first."""
    rows = [
        (
            Cell(title),
            Cell(domain, tone=domain if domain in DOMAINS else ""),
            *(heat(result.section(name, f"auc_{domain}").value) for name in result.evaluated),
            heat(result.mean(f"auc_{domain}").value),
        )
        for title, result in zip(titles(results), results, strict=True)
        for domain in _domains(result)
    ]
    return PageTable("AUC by system and section in %", ("System", "Domain", *results[0].evaluated, "Mean"), tuple(rows))


def _domains(result: ModelResult) -> tuple[str, ...]:
    """The domains that a result has AUCs of; ``all`` where clips have no domain."""
    known = tuple(domain for domain in DOMAINS if not math.isnan(result.mean(f"auc_{domain}").value))
    return known or ("all",)


def by_value(results: Sequence[ModelResult]) -> PageTable:
    """A row an attribute value, a column a system."""
    keys = ("machine_type", "section", "attribute", "value", "domain", "n_normal")
    aucs = [
        {tuple(row[key] for key in keys): float(row["auc"]) for row in records(result.values)} for result in results
    ]
    every = dict.fromkeys(key for of_system in aucs for key in of_system)
    rows = tuple(
        (
            Cell(f"{machine_type}/{section}"),
            Cell(attribute),
            attribute_value(value),
            Cell(domain, tone=domain if domain in DOMAINS else ""),
            number(n_normal),
            *(
                heat(of_system.get((machine_type, section, attribute, value, domain, n_normal), math.nan))
                for of_system in aucs
            ),
        )
        for machine_type, section, attribute, value, domain, n_normal in every
    )
    columns = ("Section", "Attribute", "Value", "Domain", "Normal clips", *titles(results))
    return PageTable("AUC by attribute value and system in %", columns, rows)


def titles(results: Sequence[ModelResult]) -> list[str]:
    """The systems' names, each with its profile where there are several."""
    several = len({result.label for result in results}) > 1
    return [f"{result.name} {result.label}" if several else result.name for result in results]


def best_first(results: Sequence[ModelResult]) -> list[ModelResult]:
    """The systems that heat maps and charts show: those that know no anomaly of the test set.

    Of back ends, of which there may be six to every model, the best, as far as a page has room.
    """
    plain = [result for result in results if result.is_plain]
    backends = ranked([result for result in results if result.is_rival and not result.is_plain])
    return ranked([*plain, *backends[: max(0, N_SHOWN - len(plain))]])


def by_backend(results: Sequence[ModelResult]) -> PageTable | None:
    """Models by back ends: a row a model and metric, a column a back end; None where no back end scored."""
    table = crossed(results)
    if not table:
        return None
    shown = [name for name in (OWN, *BACKENDS) if any(name in of_model for of_model in table.values())]
    rows = tuple(
        (
            Cell(model),
            Cell(label),
            Cell(title, tone=title if title in DOMAINS else ""),
            *(
                heat(cross_estimate(of_model[name], metric).value) if name in of_model else heat(math.nan)
                for name in shown
            ),
        )
        for (model, label), of_model in table.items()
        for title, metric in metrics_of(next(iter(of_model.values()))).items()
    )
    return PageTable("Models by back ends in %, means over sections", ("Model", "Profile", "Metric", *shown), rows)
